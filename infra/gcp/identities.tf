# One identity for each level of trust: what answers the world, what runs jobs, what starts ticks, what builds.
resource "google_service_account" "api" {
  account_id   = "${var.name}-api"
  display_name = "Sweephand's API functions: they read their secrets"
}

resource "google_service_account" "tick" {
  account_id   = "${var.name}-tick"
  display_name = "Sweephand's tick: it reads its secrets and reaches its storage prefixes"
}

resource "google_service_account" "scheduler" {
  account_id   = "${var.name}-scheduler"
  display_name = "Sweephand's trigger: it may call tick"
}

resource "google_service_account" "build" {
  account_id   = "${var.name}-build"
  display_name = "Sweephand's builds"
}

resource "google_project_iam_member" "build" {
  for_each = toset(["roles/artifactregistry.writer", "roles/logging.logWriter", "roles/storage.objectViewer"])

  project = var.project
  role    = each.key
  member  = google_service_account.build.member
}

# Only the trigger may call tick; and tick itself, where it may call for help.
resource "google_cloud_run_v2_service_iam_member" "tick" {
  for_each = merge(
    { scheduler = google_service_account.scheduler.member },
    var.max_drainers > 0 ? { tick = google_service_account.tick.member } : {},
  )

  project  = var.project
  location = var.region
  name     = google_cloudfunctions2_function.tick.name
  role     = "roles/run.invoker"
  member   = each.value
}

# The API's identity may have a schedule run, and no more; Cloud Scheduler knows no narrower place than the project.
resource "google_project_iam_custom_role" "wake" {
  count = var.wake ? 1 : 0

  role_id     = "${replace(var.name, "-", "_")}_wake"
  title       = "Starts ticks of ${var.name}"
  permissions = ["cloudscheduler.jobs.run"]
}

resource "google_project_iam_member" "wake" {
  count = var.wake ? 1 : 0

  project = var.project
  role    = google_project_iam_custom_role.wake[0].name
  member  = google_service_account.api.member
}

# Whoever calls the API shows a key of Sweephand's own, which the functions check.
resource "google_cloud_run_v2_service_iam_member" "api" {
  for_each = google_cloudfunctions2_function.api

  project  = var.project
  location = var.region
  name     = each.value.name
  role     = "roles/run.invoker"
  member   = "allUsers"
}

resource "google_storage_bucket_iam_member" "tick" {
  for_each = toset(var.storage_prefixes)

  bucket = split("/", trimprefix(each.key, "gs://"))[0]
  role   = "roles/storage.objectUser"
  member = google_service_account.tick.member

  condition {
    title = "Below one prefix"
    expression = format(
      "resource.name.startsWith(\"projects/_/buckets/%s/objects/%s\")",
      split("/", trimprefix(each.key, "gs://"))[0],
      join("/", slice(split("/", trimprefix(each.key, "gs://")), 1, length(split("/", trimprefix(each.key, "gs://"))))),
    )
  }
}
