output "url" {
  description = "Where the API answers."
  value       = "https://${google_api_gateway_gateway.jobs.default_hostname}"
}

output "secrets" {
  description = "The secrets to put values into, by the setting that each holds."
  value       = { for name, secret in google_secret_manager_secret.value : name => secret.secret_id }
}

output "functions" {
  description = "Each function's own address."
  value       = { for name, each in google_cloudfunctions2_function.api : name => each.service_config[0].uri }
}

output "scheduler_identity" {
  description = "The only identity that may call tick."
  value       = google_service_account.scheduler.email
}
