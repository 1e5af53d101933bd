locals {
  # What each API function is told beside the record's address. The scheduled function is told more, below.
  settings = {
    create_job        = local.creating
    create_jobs       = local.creating
    run_schedule      = local.creating
    put_schedule      = local.judging
    patch_schedule    = local.judging
    backfill_schedule = local.judging
    openapi           = { HANDLERS = local.handlers }
  }
  judging = {
    HANDLERS   = local.handlers
    HTTP_ALLOW = join(",", var.http_allow)
  }
  creating = {
    HANDLERS            = local.handlers
    HTTP_ALLOW          = join(",", var.http_allow)
    LINGER_SECONDS      = tostring(var.linger)
    TICK_BUDGET_SECONDS = tostring(var.tick_budget)
    # The schedule's job, by the name that scheduler.tf gives it.
    WAKE_URL = var.wake ? "scheduler:projects/${var.project}/locations/${var.region}/jobs/${var.name}-tick" : ""
  }
  secrets_of = {
    create_job         = ["SUPABASE_KEY", "REDIS_URL", "SWEEPHAND_API_KEYS"]
    create_jobs        = ["SUPABASE_KEY", "REDIS_URL", "SWEEPHAND_API_KEYS"]
    list_jobs          = ["SUPABASE_KEY", "SWEEPHAND_API_KEYS"]
    get_job            = ["SUPABASE_KEY", "SWEEPHAND_API_KEYS"]
    explain_job        = ["SUPABASE_KEY", "REDIS_URL", "SWEEPHAND_API_KEYS"]
    cancel_job         = ["SUPABASE_KEY", "SWEEPHAND_API_KEYS"]
    put_schedule       = ["SUPABASE_KEY", "SWEEPHAND_API_KEYS"]
    list_schedules     = ["SUPABASE_KEY", "SWEEPHAND_API_KEYS"]
    get_schedule       = ["SUPABASE_KEY", "SWEEPHAND_API_KEYS"]
    patch_schedule     = ["SUPABASE_KEY", "SWEEPHAND_API_KEYS"]
    delete_schedule    = ["SUPABASE_KEY", "SWEEPHAND_API_KEYS"]
    run_schedule       = ["SUPABASE_KEY", "REDIS_URL", "SWEEPHAND_API_KEYS"]
    backfill_schedule  = ["SUPABASE_KEY", "SWEEPHAND_API_KEYS"]
    list_schedule_jobs = ["SUPABASE_KEY", "SWEEPHAND_API_KEYS"]
    health             = ["SUPABASE_KEY"]
    openapi            = []
    not_found          = []
    tick               = concat(["SUPABASE_KEY", "REDIS_URL", "MAIL_URL"], var.webhook_signing ? ["WEBHOOK_SIGNING_KEYS"] : [], var.tick_store == "direct" ? ["DATABASE_URL"] : [])
  }
}

resource "google_cloudfunctions2_function" "api" {
  for_each = local.api

  name     = "${var.name}-${replace(each.key, "_", "-")}"
  location = var.region
  labels   = local.labels

  build_config {
    runtime         = "python313"
    entry_point     = each.key
    service_account = google_service_account.build.id

    source {
      storage_source {
        bucket = google_storage_bucket.source.name
        object = google_storage_bucket_object.source["api"].name
      }
    }
  }

  service_config {
    available_memory                 = var.api_memory
    available_cpu                    = "1"
    timeout_seconds                  = 30
    max_instance_count               = var.api_max_instances
    max_instance_request_concurrency = 16
    service_account_email            = google_service_account.api.email
    ingress_settings                 = "ALLOW_ALL"
    environment_variables            = merge({ SUPABASE_URL = var.supabase_url, CORS_ORIGINS = join(",", var.cors_origins) }, lookup(local.settings, each.key, {}))

    dynamic "secret_environment_variables" {
      for_each = local.secrets_of[each.key]

      content {
        key        = secret_environment_variables.value
        project_id = var.project
        secret     = google_secret_manager_secret.value[secret_environment_variables.value].secret_id
        version    = var.secret_version
      }
    }
  }

  depends_on = [google_secret_manager_secret_iam_member.reader, google_project_iam_member.build]
}

resource "google_cloudfunctions2_function" "tick" {
  name     = "${var.name}-tick"
  location = var.region
  labels   = local.labels

  build_config {
    runtime         = "python313"
    entry_point     = "tick"
    service_account = google_service_account.build.id

    source {
      storage_source {
        bucket = google_storage_bucket.source.name
        object = google_storage_bucket_object.source["tick"].name
      }
    }
  }

  service_config {
    available_memory = var.tick_memory
    available_cpu    = var.tick_cpu
    timeout_seconds  = var.tick_timeout
    # One tick has an instance for itself: a job that takes it down takes no other tick's jobs with it.
    max_instance_request_concurrency = 1
    max_instance_count               = var.tick_max_instances
    service_account_email            = google_service_account.tick.email
    # Cloud Scheduler calls from inside; a tick that calls further ones comes by the front door, as any function does.
    ingress_settings = var.max_drainers > 0 ? "ALLOW_ALL" : "ALLOW_INTERNAL_ONLY"
    environment_variables = {
      SUPABASE_URL        = var.supabase_url
      STORE               = var.tick_store
      HANDLERS            = local.handlers
      MAIL_FROM           = var.mail_from
      STORAGE_PREFIXES    = join(",", var.storage_prefixes)
      HTTP_ALLOW          = join(",", var.http_allow)
      HTTP_CA_FILE        = var.http_ca_file
      TICK_BUDGET_SECONDS = tostring(var.tick_budget)
      ASYNC_SLOTS         = tostring(var.slots.async)
      THREAD_SLOTS        = tostring(var.slots.thread)
      PROCESS_SLOTS       = tostring(var.slots.process)
      # Its own address, in the form that is known before it is made.
      DRAINERS_URL = "https://${var.name}-tick-${data.google_project.this.number}.${var.region}.run.app"
      MAX_DRAINERS = tostring(var.max_drainers)

      LINGER_SECONDS = tostring(var.linger)
      RETENTION_DAYS = tostring(var.retention_days)
    }

    dynamic "secret_environment_variables" {
      for_each = local.secrets_of["tick"]

      content {
        key        = secret_environment_variables.value
        project_id = var.project
        secret     = google_secret_manager_secret.value[secret_environment_variables.value].secret_id
        version    = var.secret_version
      }
    }
  }

  depends_on = [google_secret_manager_secret_iam_member.reader, google_project_iam_member.build]
}
