//! Server reflection, made when somebody asks first: what it knows of every message takes half a megabyte, and few servers
//! are ever asked.

use std::convert::Infallible;
use std::sync::LazyLock;

use futures_util::FutureExt;
use futures_util::future::ready;
use http::{Request, Response};
use hyper::body::Incoming;
use tonic::Status;
use tonic::body::Body;
pub(super) use tonic_reflection::pb::v1::server_reflection_server::SERVICE_NAME as V1;
pub(super) use tonic_reflection::pb::v1alpha::server_reflection_server::SERVICE_NAME as V1_ALPHA;
use tonic_reflection::server::Builder;
use tower::Service;
use tower::util::BoxCloneSyncService;

use super::routes::Answer;
use crate::proto::DESCRIPTOR_SET;

type Server = BoxCloneSyncService<Request<Incoming>, Response<Body>, Infallible>;

/// Both versions of the protocol.
pub(super) struct Reflection {
    v1: LazyLock<Option<Server>>,
    v1_alpha: LazyLock<Option<Server>>,
}

impl Default for Reflection {
    fn default() -> Self {
        Self {
            v1: LazyLock::new(|| Some(Server::new(descriptors().build_v1().ok()?))),
            v1_alpha: LazyLock::new(|| Some(Server::new(descriptors().build_v1alpha().ok()?))),
        }
    }
}

impl Reflection {
    pub(super) fn v1(&self, request: Request<Incoming>) -> Answer {
        call(self.v1.as_ref(), request)
    }

    pub(super) fn v1_alpha(&self, request: Request<Incoming>) -> Answer {
        call(self.v1_alpha.as_ref(), request)
    }
}

fn call(server: Option<&Server>, request: Request<Incoming>) -> Answer {
    match server {
        Some(server) => server.clone().call(request),
        // The descriptors are part of the program and are good; a test sees to it.
        None => ready(Ok(Status::internal("there is no reflection").into_http())).boxed(),
    }
}

fn descriptors() -> Builder<'static> {
    Builder::configure().register_encoded_file_descriptor_set(DESCRIPTOR_SET)
}
