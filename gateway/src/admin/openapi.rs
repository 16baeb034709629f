//! `GET /v1/openapi.json`: the description of the admin API, made from the routes themselves.
//!
//! `docs/openapi.json` is the same document; a test keeps it current.

use axum::Json;
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};

/// The document without routes.
pub(super) fn skeleton() -> OpenApi {
    let info = InfoBuilder::new()
        .title("fn admin API")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Deploys, lists, shows, evicts and removes functions and reads their logs. Served on a unix socket of mode 0600; \
             whoever may open it may do everything. Functions are also called here, by any method, at \
             `/v1/functions/{name}/invoke[/path]`. Every error is `{\"error\": {\"code\", \"message\", \"request_id\"}}`, with \
             `hint` and `details` where there are some.",
        ))
        .license(Some(LicenseBuilder::new().name("Apache-2.0").build()))
        .build();
    OpenApiBuilder::new().info(info).build()
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "server", responses((status = 200, description = "The OpenAPI document", body = Object)))]
pub(super) async fn document() -> Json<OpenApi> {
    Json(super::routes().1)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn the_document_in_docs_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
        let current = super::super::routes().1.to_pretty_json().unwrap() + "\n";
        if std::env::var_os("FN_UPDATE_DOCS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &current).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == current,
            "docs/openapi.json is not current; run this test with FN_UPDATE_DOCS=1"
        );
    }

    #[test]
    fn every_route_is_described() {
        let api = super::super::routes().1;
        for path in [
            "/v1/info",
            "/v1/aws",
            "/v1/openapi.json",
            "/v1/bundles",
            "/v1/bundles/{digest}",
            "/v1/functions",
            "/v1/functions/{name}",
            "/v1/functions/{name}/evict",
            "/v1/functions/{name}/logs",
            "/v1/alerts",
            "/v1/rules",
        ] {
            assert!(api.paths.paths.contains_key(path), "{path}");
        }
    }
}
