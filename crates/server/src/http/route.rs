//! One line of the table of routes: its address, what it asks of its caller, its
//! handler, and what the document of the API says of it. A handler's own
//! signature tells its parameters, its body and its answer (see
//! [`signature`](super::signature)), so that the document cannot say anything
//! else; a line adds what a signature cannot tell.

use super::auth::Access;
use super::error::Code;
use super::replay::KeyRule;
use super::signature::Signature;
use crate::app::App;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;

/// One route.
pub(crate) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) access: Access,
    pub(super) scope: Scope,
    pub(super) keys: KeyRule,
    pub(super) handler: MethodRouter<App>,
    pub(super) operation: Operation,
}

/// A route that nobody has described yet; it is none before [`about`](Self::about).
#[must_use = "say what the route is about"]
pub(super) struct Untold(Route);

/// What the document says of a route, beside its address and its callers.
#[derive(Debug, Default)]
pub(super) struct Operation {
    /// A few words, unique; the operation's id is made from them.
    pub(super) title: &'static str,
    /// What it does, in sentences.
    pub(super) text: &'static str,
    /// The parameters behind the question mark.
    pub(super) query: Option<Shape>,
    /// What it takes.
    pub(super) body: Body,
    /// What it answers when all is well, by status.
    pub(super) answers: Vec<(u16, Content)>,
    /// What it refuses with, beside what any route does.
    pub(super) codes: Vec<Code>,
    /// A body that may be sent.
    pub(super) example: Option<Value>,
}

/// Makes the schema of a type, in a document.
pub(super) type Shape = fn(&mut SchemaGenerator) -> Schema;

/// What is inside a body.
#[derive(Debug, Clone, Copy)]
pub(super) enum Content {
    /// JSON of that shape.
    Json(Shape),
    /// Bytes of that media type.
    Raw(&'static str),
}

/// What a route takes as its body.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Body {
    /// None.
    #[default]
    None,
    /// One that the handler reads by itself: the line has to say which.
    Unsaid,
    /// This.
    Of(Content),
}

/// How a route tells which campaign it speaks of: a key may be for some only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// It tells everybody the same.
    Public,
    /// By the slug in its address.
    Path,
    /// By `?campaign=`.
    Query,
    /// The handler knows.
    OfHandler,
    /// It speaks of all campaigns.
    All,
}

/// The schema of `T`.
pub(super) fn shape<T: JsonSchema>(document: &mut SchemaGenerator) -> Schema {
    document.subschema_for::<T>()
}

impl Route {
    /// A route for `GET`.
    pub(super) fn get<H, T>(path: &'static str, access: Access, handler: H) -> Untold
    where
        H: Handler<T, App> + Signature<T>,
        T: 'static,
    {
        Self::begin(Method::GET, MethodFilter::GET, path, access, handler)
    }

    /// A route for `POST`.
    pub(super) fn post<H, T>(path: &'static str, access: Access, handler: H) -> Untold
    where
        H: Handler<T, App> + Signature<T>,
        T: 'static,
    {
        Self::begin(Method::POST, MethodFilter::POST, path, access, handler)
    }

    /// A route for `PUT`.
    pub(super) fn put<H, T>(path: &'static str, access: Access, handler: H) -> Untold
    where
        H: Handler<T, App> + Signature<T>,
        T: 'static,
    {
        Self::begin(Method::PUT, MethodFilter::PUT, path, access, handler)
    }

    fn begin<H, T>(
        method: Method,
        filter: MethodFilter,
        path: &'static str,
        access: Access,
        handler: H,
    ) -> Untold
    where
        H: Handler<T, App> + Signature<T>,
        T: 'static,
    {
        let mut operation = Operation::default();
        H::tell(&mut operation);
        let scope = match () {
            () if access.is_public => Scope::Public,
            () if path.contains("{campaign}") => Scope::Path,
            () => Scope::All,
        };
        let keys = if method == Method::POST {
            KeyRule::Optional
        } else {
            KeyRule::None
        };
        Untold(Self {
            method,
            path,
            access,
            scope,
            keys,
            handler: on(filter, handler),
            operation,
        })
    }

    /// The JSON body of a handler that reads it by rules of its own.
    pub(super) fn body<T: JsonSchema>(mut self) -> Self {
        self.operation.body = Body::Of(Content::Json(shape::<T>));
        self
    }

    /// The same of another media type.
    pub(super) fn body_raw(mut self, media: &'static str) -> Self {
        self.operation.body = Body::Of(Content::Raw(media));
        self
    }

    /// An answer that the handler's signature does not tell.
    pub(super) fn answers<T: JsonSchema>(mut self, status: u16) -> Self {
        let content = Content::Json(shape::<T>);
        self.operation.answers.push((status, content));
        self
    }

    /// The same of another media type.
    pub(super) fn answers_raw(mut self, status: u16, media: &'static str) -> Self {
        self.operation.answers.push((status, Content::Raw(media)));
        self
    }

    /// What it refuses with, beside what its extractors and any route do.
    pub(super) fn errors(mut self, codes: &[Code]) -> Self {
        self.operation.codes.extend(codes);
        self
    }

    /// How it tells which campaign it speaks of.
    pub(super) fn scoped(self, scope: Scope) -> Self {
        Self { scope, ..self }
    }

    /// What it does about `Idempotency-Key`; a POST may have one unless said here.
    pub(super) fn keys(self, keys: KeyRule) -> Self {
        Self { keys, ..self }
    }

    /// A body that may be sent; `tests/surface/examples` sends it.
    pub(super) fn example(mut self, body: impl Into<Value>) -> Self {
        self.operation.example = Some(body.into());
        self
    }
}

impl Untold {
    /// A title of a few words, and what it does.
    pub(super) fn about(self, title: &'static str, text: &'static str) -> Route {
        let mut route = self.0;
        route.operation.title = title;
        route.operation.text = text;
        route
    }
}
