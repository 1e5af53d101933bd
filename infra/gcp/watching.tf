# Tick writes its report as one line of JSON, from which Cloud Logging makes the metrics.
locals {
  tick_log = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"${var.name}-tick\""
  tick_run = "resource.type = \"cloud_run_revision\" AND resource.labels.service_name = \"${var.name}-tick\""
  logged   = "resource.type = \"cloud_run_revision\" AND metric.type = \"logging.googleapis.com/user/${var.name}"
  channels = google_monitoring_notification_channel.mail[*].id
}

resource "google_monitoring_notification_channel" "mail" {
  count = var.alarm_email == "" ? 0 : 1

  display_name = "${var.name} alarms"
  type         = "email"
  labels       = { email_address = var.alarm_email }
}

resource "google_logging_metric" "oldest_due" {
  name            = "${var.name}/oldest_due_age_s"
  description     = "Age of the oldest due job."
  filter          = "${local.tick_log} AND jsonPayload.oldest_due_age_s>=0"
  value_extractor = "EXTRACT(jsonPayload.oldest_due_age_s)"

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "DISTRIBUTION"
    unit        = "s"
  }
}

resource "google_logging_metric" "failed" {
  name        = "${var.name}/ticks_with_failed_jobs"
  description = "Ticks in which jobs ended as failed."
  filter      = "${local.tick_log} AND jsonPayload.failed>0"

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
  }
}

resource "google_logging_metric" "undelivered" {
  name        = "${var.name}/undelivered"
  description = "Calls that Cloud Scheduler could not deliver to tick."
  filter      = "resource.type=\"cloud_scheduler_job\" AND resource.labels.job_id=\"${var.name}-tick\" AND severity>=ERROR"

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
  }
}

resource "google_monitoring_alert_policy" "tick_missing" {
  display_name          = "${var.name}: tick has not run for 5 minutes"
  combiner              = "OR"
  notification_channels = local.channels

  conditions {
    display_name = "No request to tick"

    condition_absent {
      filter   = "${local.tick_run} AND metric.type = \"run.googleapis.com/request_count\""
      duration = "300s"

      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    content = "Is the job ${var.name}-tick of Cloud Scheduler enabled?"
  }
}

resource "google_monitoring_alert_policy" "threshold" {
  for_each = {
    tick_errors = {
      title   = "a tick ended with an error"
      filter  = "${local.tick_run} AND metric.type = \"run.googleapis.com/request_count\" AND metric.labels.response_code_class = \"5xx\""
      aligner = "ALIGN_DELTA", limit = 0, duration = "0s"
    }
    oldest_due = {
      title   = "a job has been due for too long"
      filter  = "${local.logged}/oldest_due_age_s\""
      aligner = "ALIGN_PERCENTILE_99", limit = var.max_due_age, duration = "180s"
    }
    jobs_failed = {
      title   = "jobs ended as failed"
      filter  = "${local.logged}/ticks_with_failed_jobs\""
      aligner = "ALIGN_DELTA", limit = 0, duration = "0s"
    }
    undelivered = {
      title   = "the schedule could not wake tick"
      filter  = "resource.type = \"cloud_scheduler_job\" AND metric.type = \"logging.googleapis.com/user/${var.name}/undelivered\""
      aligner = "ALIGN_DELTA", limit = 0, duration = "0s"
    }
  }

  display_name          = "${var.name}: ${each.value.title}"
  combiner              = "OR"
  notification_channels = local.channels

  conditions {
    display_name = each.value.title

    condition_threshold {
      filter          = each.value.filter
      comparison      = "COMPARISON_GT"
      threshold_value = each.value.limit
      duration        = each.value.duration

      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = each.value.aligner
        cross_series_reducer = each.value.aligner == "ALIGN_DELTA" ? "REDUCE_SUM" : "REDUCE_MAX"
      }
    }
  }

  depends_on = [google_logging_metric.oldest_due, google_logging_metric.failed, google_logging_metric.undelivered]
}
