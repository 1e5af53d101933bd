variable "project" {
  description = "The project's id."
  type        = string
}

variable "region" {
  description = "Where everything runs; one that has Cloud Functions, Cloud Scheduler and API Gateway."
  type        = string
  default     = "europe-west1"
}

variable "name" {
  description = "What all names begin with: one for each stage."
  type        = string
  default     = "sweephand"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name))
    error_message = "Use 2 to 20 of a-z, 0-9 and -, first a letter, last no -."
  }
}

variable "supabase_url" {
  description = "https://<project>.supabase.co"
  type        = string

  validation {
    condition     = startswith(var.supabase_url, "https://")
    error_message = "Supabase is reached by https:// only."
  }
}

variable "secret_version" {
  description = "Which version of each secret a new instance reads: a number, or latest."
  type        = string
  default     = "latest"

  validation {
    condition     = can(regex("^([0-9]+|latest)$", var.secret_version))
    error_message = "Use a version's number, or latest."
  }
}

variable "handlers" {
  description = "Modules with further handlers, as the artifacts were built with; null: those of serverless.yml."
  type        = list(string)
  default     = null
}

variable "cors_origins" {
  description = "Origins whose pages may call the API from a browser, such as https://example.com, or *; none by default."
  type        = list(string)
  default     = []
}

variable "mail_from" {
  description = "The sender of mails, as name@example.com."
  type        = string
  default     = ""
}

variable "storage_prefixes" {
  description = "gs://bucket/prefix/ that handlers may read and write."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for prefix in var.storage_prefixes : can(regex("^gs://[^/]+/(.+/)?$", prefix))])
    error_message = "Each is gs://bucket/ or gs://bucket/prefix/, with the last /."
  }
}

variable "http_allow" {
  description = "Hosts and ranges that http_request may call although they are not public, such as inside.example or 10.1.0.0/16."
  type        = list(string)
  default     = []
}

variable "http_ca_file" {
  description = "A PEM file in tick's source, with authorities that http_request trusts beside the system's."
  type        = string
  default     = ""
}

variable "webhook_signing" {
  description = "Whether http_request signs, by the keys in a secret of their own, WEBHOOK_SIGNING_KEYS."
  type        = bool
  default     = false
}

variable "api_memory" {
  description = "Memory of an API function."
  type        = string
  default     = "512Mi"
}

variable "api_max_instances" {
  description = "The most instances of each API function."
  type        = number
  default     = 10
}

variable "tick_store" {
  description = "How tick reaches the record: rest, or direct, which is faster and takes a secret with DATABASE_URL."
  type        = string
  default     = "rest"

  validation {
    condition     = contains(["rest", "direct"], var.tick_store)
    error_message = "Use rest or direct."
  }
}

variable "tick_memory" {
  description = "Memory of tick."
  type        = string
  default     = "1Gi"
}

variable "tick_cpu" {
  description = "Processors of tick."
  type        = string
  default     = "1"
}

variable "tick_timeout" {
  description = "Seconds until Google ends a tick, and until Cloud Scheduler gives up on it."
  type        = number
  default     = 300

  validation {
    condition     = var.tick_timeout >= 15 && var.tick_timeout <= 1800
    error_message = "Cloud Scheduler waits for 15 to 1800 seconds."
  }
}

variable "tick_budget" {
  description = "Seconds that a tick may use: less than tick_timeout, and by 3 or more longer than the longest time limit of a handler."
  type        = number
  default     = 285

  validation {
    condition     = var.tick_budget > 0 && var.tick_budget <= var.tick_timeout - 10
    error_message = "Leave 10 seconds of tick_timeout for starting and reporting."
  }
}

variable "tick_max_instances" {
  description = "How many ticks may run at once."
  type        = number
  default     = 5
}

variable "slots" {
  description = "How many handlers of each isolation one tick runs at once."
  type        = object({ async = number, thread = number, process = number })
  default     = { async = 100, thread = 16, process = 2 }
}

variable "max_drainers" {
  description = "How many further ticks a scheduled one may call for help."
  type        = number
  default     = 0
}

variable "wake" {
  description = "Whether POST /jobs runs the schedule at once if no tick is active."
  type        = bool
  default     = true
}

variable "linger" {
  description = "Seconds from its beginning that a tick waits for jobs that are known to come due; 0: not at all."
  type        = number
  default     = 70
}

variable "retention_days" {
  description = "How long finished jobs are kept; 0: for ever."
  type        = number
  default     = 0
}

variable "alarm_email" {
  description = "Who hears of alarms; empty: the console alone shows them."
  type        = string
  default     = ""
}

variable "max_due_age" {
  description = "Seconds that a job may be due before an alarm rings."
  type        = number
  default     = 300
}
