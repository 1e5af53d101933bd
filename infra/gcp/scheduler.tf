resource "google_cloud_scheduler_job" "tick" {
  name        = "${var.name}-tick"
  region      = var.region
  description = "Starts the tick of ${var.name} every minute."
  schedule    = "* * * * *"
  time_zone   = "Etc/UTC"
  # Shorter than a tick may take, and Cloud Scheduler would call a tick failed that is still at work.
  attempt_deadline = "${var.tick_timeout}s"

  # Nothing is retried: the next minute brings the next tick.
  retry_config {
    retry_count = 0
  }

  http_target {
    http_method = "POST"
    uri         = google_cloudfunctions2_function.tick.service_config[0].uri

    oidc_token {
      service_account_email = google_service_account.scheduler.email
      audience              = google_cloudfunctions2_function.tick.service_config[0].uri
    }
  }

  depends_on = [google_project_service.needed]
}
