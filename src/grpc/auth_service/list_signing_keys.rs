//! Returns the public keys that access tokens can be verified with.

use super::Auth;
use crate::grpc::call::CallContext;
use crate::grpc::convert::time_to_proto;
use crate::grpc::error::ApiError;
use crate::proto::identity::v1::{ListSigningKeysRequest, ListSigningKeysResponse, SigningKey};
use crate::tokens::PublicJwk;

#[expect(clippy::unused_async, reason = "the form that every RPC has")]
pub(super) async fn list_signing_keys(
    auth: &Auth,
    context: &CallContext,
    ListSigningKeysRequest {}: ListSigningKeysRequest,
) -> Result<ListSigningKeysResponse, ApiError> {
    let keys = auth.signing_keys.published(context.now);
    Ok(ListSigningKeysResponse {
        keys: keys
            .into_iter()
            .map(|(jwk, record)| SigningKey {
                kid: jwk.kid,
                kty: PublicJwk::KTY.to_owned(),
                alg: PublicJwk::ALG.to_owned(),
                r#use: PublicJwk::USE.to_owned(),
                crv: PublicJwk::CRV.to_owned(),
                x: jwk.x,
                y: jwk.y,
                activate_time: Some(time_to_proto(record.activates_at)),
                retire_time: record.retires_at.map(time_to_proto),
            })
            .collect(),
    })
}
