//! Server reflection, made when somebody asks first: what it knows of every message takes half a megabyte, and few servers
//! are ever asked.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic_reflection::server::{Builder, Error};
use tower::Service;

use crate::proto::DESCRIPTOR_SET;

/// Returns what makes a version of reflection.
pub(super) fn descriptors() -> Builder<'static> {
    Builder::configure().register_encoded_file_descriptor_set(DESCRIPTOR_SET)
}

/// A service that is made when it is called first.
pub(super) struct OnDemand<S> {
    make: fn() -> Result<S, Error>,
    made: Arc<OnceLock<Option<S>>>,
}

impl<S> OnDemand<S> {
    pub(super) fn new(make: fn() -> Result<S, Error>) -> Self {
        Self {
            make,
            made: Arc::default(),
        }
    }
}

impl<S> Clone for OnDemand<S> {
    fn clone(&self) -> Self {
        Self {
            make: self.make,
            made: Arc::clone(&self.made),
        }
    }
}

impl<S: NamedService> NamedService for OnDemand<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for OnDemand<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Self::Response, Infallible>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.made.get_or_init(|| (self.make)().ok()) {
            Some(service) => Either::Left(service.clone().call(request)),
            // The descriptors are part of the program and are good; a test sees to it.
            None => Either::Right(ready(Ok(Status::internal("there is no reflection").into_http()))),
        }
    }
}
