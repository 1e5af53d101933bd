# Terraform makes the secrets and says who reads them. Their values are put in by hand, so no state file holds one.
locals {
  secrets = merge({
    SUPABASE_KEY        = ["api", "tick"]
    REDIS_URL           = ["api", "tick"]
    SWEEPHAND_API_KEYS = ["api"]
    MAIL_URL            = ["tick"]
  }, var.webhook_signing ? { WEBHOOK_SIGNING_KEYS = ["tick"] } : {}, var.tick_store == "direct" ? { DATABASE_URL = ["tick"] } : {})
  readers = {
    api  = google_service_account.api.member
    tick = google_service_account.tick.member
  }
}

resource "google_secret_manager_secret" "value" {
  for_each = local.secrets

  secret_id = "${var.name}-${lower(replace(each.key, "_", "-"))}"
  labels    = local.labels

  replication {
    auto {}
  }

  depends_on = [google_project_service.needed]
}

resource "google_secret_manager_secret_iam_member" "reader" {
  for_each = merge([
    for name, readers in local.secrets : { for reader in readers : "${name} ${reader}" => { name = name, reader = reader } }
  ]...)

  secret_id = google_secret_manager_secret.value[each.value.name].id
  role      = "roles/secretmanager.secretAccessor"
  member    = local.readers[each.value.reader]
}
