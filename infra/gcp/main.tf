# The list of functions, routes and triggers is serverless.yml, here as everywhere.
locals {
  document  = yamldecode(file("${path.module}/../../serverless.yml"))
  functions = local.document.functions

  # There it is text, or the default of an environment variable: ${env:HANDLERS, 'handlers'}.
  handlers = var.handlers != null ? join(",", var.handlers) : try(
    regex("^\\$\\{env:HANDLERS, '([^']*)'\\}$", local.document.params.default.handlers)[0],
    local.document.params.default.handlers,
  )

  # Each function but the scheduled one answers requests.
  api = toset([for name, each in local.functions : name if name != "tick"])
  routes = flatten([
    for name, each in local.functions : [
      for event in each.events : {
        function = name
        method   = lower(event.httpApi.method)
        path     = event.httpApi.path
      } if can(event.httpApi.method)
    ]
  ])
  catch_all = one([
    for name, each in local.functions : name if anytrue([for event in each.events : try(event.httpApi == "*", false)])
  ])

  labels = { service = "sweephand", stage = var.name }
}

data "google_project" "this" {
}

resource "google_project_service" "needed" {
  for_each = toset([
    "apigateway.googleapis.com",
    "artifactregistry.googleapis.com",
    "cloudbuild.googleapis.com",
    "cloudfunctions.googleapis.com",
    "cloudscheduler.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "run.googleapis.com",
    "secretmanager.googleapis.com",
    "servicecontrol.googleapis.com",
    "servicemanagement.googleapis.com",
  ])

  service            = each.key
  disable_on_destroy = false
}

# The sources that `make package-gcp` builds. Their hash is in the name, so that a change deploys and nothing else does.
resource "google_storage_bucket" "source" {
  name                        = "${var.project}-${var.name}-source"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true
  labels                      = local.labels
}

resource "google_storage_bucket_object" "source" {
  for_each = toset(["api", "tick"])

  bucket = google_storage_bucket.source.name
  name   = "${each.key}-${filesha256("${path.module}/../../dist/google/${each.key}.zip")}.zip"
  source = "${path.module}/../../dist/google/${each.key}.zip"
}
