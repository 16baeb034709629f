//! What stands in the query of a call, with an error of this API for what can't be read.

use axum::extract::{FromRequestParts, Query};
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::fault::Fault;

/// The parameters of a query.
pub(super) struct Parameters<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Fault> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(parameters)) => Ok(Self(parameters)),
            Err(error) => Err(Fault::invalid(error.body_text())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::pages::Page;
    use super::*;

    #[tokio::test]
    async fn a_parameter_that_is_no_number_is_an_error_of_this_api() {
        let mut parts = http::Request::get("/?MaxItems=many").body(()).unwrap().into_parts().0;
        let Err(fault) = Parameters::<Page>::from_request_parts(&mut parts, &()).await else {
            panic!("it was taken");
        };
        assert!(fault.message().contains("MaxItems"), "{}", fault.message());
    }
}
