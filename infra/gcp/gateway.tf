# One host for all routes. The gateway passes Authorization on untouched: it holds a key of Sweephand's own.
locals {
  every_method = ["get", "head", "post", "put", "patch", "delete", "options"]

  # OpenAPI 2.0 is what API Gateway reads. Whatever no route takes goes to the catch-all.
  paths = merge(
    {
      for path in distinct(local.routes[*].path) : path => {
        for route in local.routes : route.method => {
          operationId        = route.method == "head" ? "${route.function}_head" : route.function
          parameters         = [for name in flatten(regexall("\\{(\\w+)\\}", path)) : { name = name, in = "path", required = true, type = "string" }]
          responses          = { default = { description = "As /openapi.json says." } }
          "x-google-backend" = { address = google_cloudfunctions2_function.api[route.function].service_config[0].uri, path_translation = "APPEND_PATH_TO_ADDRESS", disable_auth = true, deadline = 30 }
        } if route.path == path
      }
    },
    {
      "/{unmatched=**}" = {
        for method in local.every_method : method => {
          operationId        = "${local.catch_all}_${method}"
          parameters         = [{ name = "unmatched", in = "path", required = true, type = "string" }]
          responses          = { default = { description = "404 or 405." } }
          "x-google-backend" = { address = google_cloudfunctions2_function.api[local.catch_all].service_config[0].uri, path_translation = "APPEND_PATH_TO_ADDRESS", disable_auth = true, deadline = 30 }
        }
      }
    },
  )
  openapi = {
    swagger  = "2.0"
    info     = { title = "Sweephand", version = regex("VERSION = \"([^\"]+)\"", file("${path.module}/../../shared/sweephand/version.py"))[0] }
    schemes  = ["https"]
    produces = ["application/json"]
    paths    = local.paths
  }
}

resource "google_api_gateway_api" "jobs" {
  provider = google-beta

  api_id = var.name
  labels = local.labels

  depends_on = [google_project_service.needed]
}

resource "google_api_gateway_api_config" "jobs" {
  provider = google-beta

  api                  = google_api_gateway_api.jobs.api_id
  api_config_id_prefix = "${var.name}-"
  labels               = local.labels

  openapi_documents {
    document {
      path     = "openapi.json"
      contents = base64encode(jsonencode(local.openapi))
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "google_api_gateway_gateway" "jobs" {
  provider = google-beta

  gateway_id = var.name
  region     = var.region
  api_config = google_api_gateway_api_config.jobs.id
  labels     = local.labels
}
