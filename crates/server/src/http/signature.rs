//! What a handler's signature tells the document of the API: each extractor says
//! what it reads and what it refuses with, and the answer says what it is. So a
//! document cannot differ from its handler. An answer that a handler writes byte
//! by byte (`Response`) tells nothing; its line in the table says it.

use super::auth::Caller;
use super::error::{ApiError, Code};
use super::export::{self, Exported};
use super::input::{JsonBody, JsonText, Names, Params};
use super::route::{Body, Content, Operation, shape};
use crate::app::App;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

/// A handler that tells what it takes and answers; `T` is axum's mark of its
/// inputs.
pub(super) trait Signature<T> {
    /// Tells it.
    fn tell(operation: &mut Operation);
}

/// An extractor that tells what it reads.
pub(super) trait Input {
    /// Tells it.
    fn tell(operation: &mut Operation);
}

/// An answer that tells what it is.
pub(super) trait Answer {
    /// Tells it.
    fn tell(operation: &mut Operation);
}

macro_rules! signatures {
    ($(($($input:ident)*))+) => {$(
        impl<Handler, Mark, Future, Out, $($input),*> Signature<(Mark, $($input,)*)> for Handler
        where
            Handler: FnOnce($($input),*) -> Future,
            Future: std::future::Future<Output = Out>,
            Out: Answer,
            $($input: Input,)*
        {
            fn tell(operation: &mut Operation) {
                $($input::tell(operation);)*
                Out::tell(operation);
            }
        }
    )+};
}
signatures! { () (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) }

/// Extractors of which the document needs to say nothing.
macro_rules! silent {
    ($($input:ty),+) => {
        $(impl Input for $input {
            fn tell(_: &mut Operation) {}
        })+
    };
}
silent!(State<App>, Caller, HeaderMap);

impl<T> Input for Names<T> {
    fn tell(operation: &mut Operation) {
        operation.codes.push(Code::RouteNotFound);
    }
}

impl<T: JsonSchema> Input for Params<T> {
    fn tell(operation: &mut Operation) {
        operation.query = Some(shape::<T>);
        operation.codes.push(Code::InvalidQuery);
    }
}

impl<T: JsonSchema> Input for Exported<T> {
    fn tell(operation: &mut Operation) {
        operation.query = Some(export::shape::<T>);
        operation.codes.push(Code::InvalidQuery);
    }
}

/// What any body may be refused with.
const OF_BODIES: [Code; 3] = [
    Code::UnsupportedMediaType,
    Code::BodyTooLarge,
    Code::BodyTimeout,
];

impl<T: JsonSchema> Input for JsonBody<T> {
    fn tell(operation: &mut Operation) {
        operation.body = Body::Of(Content::Json(shape::<T>));
        operation.codes.extend(OF_BODIES);
        operation.codes.push(Code::InvalidBody);
    }
}

impl Input for JsonText {
    fn tell(operation: &mut Operation) {
        operation.body = Body::Unsaid;
        operation.codes.extend(OF_BODIES);
        operation.codes.push(Code::InvalidBody);
    }
}

impl Input for Request {
    fn tell(operation: &mut Operation) {
        operation.body = Body::Unsaid;
        operation.codes.extend(OF_BODIES);
    }
}

impl<T: Answer> Answer for Result<T, ApiError> {
    fn tell(operation: &mut Operation) {
        T::tell(operation);
    }
}

impl<T: JsonSchema> Answer for Json<T> {
    fn tell(operation: &mut Operation) {
        let content = Content::Json(shape::<T>);
        operation.answers.push((StatusCode::OK.as_u16(), content));
    }
}

impl Answer for &'static str {
    fn tell(operation: &mut Operation) {
        let content = Content::Raw("text/plain; charset=utf-8");
        operation.answers.push((StatusCode::OK.as_u16(), content));
    }
}

impl Answer for Response {
    fn tell(_: &mut Operation) {}
}

/// The answer to a request that made something: 201.
#[derive(Debug)]
pub(super) struct Created<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, Json(self.0)).into_response()
    }
}

impl<T: JsonSchema> Answer for Created<T> {
    fn tell(operation: &mut Operation) {
        let content = Content::Json(shape::<T>);
        let status = StatusCode::CREATED.as_u16();
        operation.answers.push((status, content));
    }
}
