//! Exports: a whole list in one answer, as CSV or as a JSON object a line. A task
//! reads it page by page, each page in a transaction of its own, so that nothing
//! holds the log of the database back, and waits for the client before it reads on:
//! in memory are a page or two, whatever the size of the list and the pace of the
//! client. When the client hangs up, or the server stops, the task ends, and an
//! answer that is not whole breaks off, so that nobody takes it for whole.
//!
//! What is exported are the facts that lists show. No code, text, token, address or
//! secret is among them.

use super::Route;
use super::auth::Access;
use super::error::{ApiError, Code};
use super::input::Params;
use super::signature::Signature;
use crate::api::{ExportQuery, Format};
use crate::app::App;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::handler::Handler;
use axum::http::request::Parts;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use tokio::sync::mpsc;
use tombola_core::limits::{EXPORT_RETRY_AFTER, EXPORT_STALL_MAX, PAGE_MAX};
use tombola_core::ports::StoreResult;
use tombola_store::Store;
use tombola_store::read::{Page, PageQuery, Place};

pub(super) const CSV: &str = "text/csv; charset=utf-8; header=present";
pub(super) const JSONL: &str = "application/jsonl";

/// The route of an export.
pub(super) fn route<H, T>(
    path: &'static str,
    access: Access,
    title: &'static str,
    handler: H,
) -> Route
where
    H: Handler<T, App> + Signature<T>,
    T: 'static,
{
    Route::get(path, access, handler)
        .about(
            title,
            "All rows of the list that fit, newest first, as CSV with a heading or as a JSON \
             object a line, streamed while it is read. An answer that is not whole breaks off: \
             throw it away. A row is as it stands when it is read; none that is there all the \
             time is left out or there twice. In CSV a text that a spreadsheet would take for a \
             formula has an apostrophe in front.",
        )
        .answers_raw(200, CSV)
        .answers_raw(200, JSONL)
}

/// What an export is asked for: the filters of the list, and `format`.
#[derive(Debug)]
pub(super) struct Exported<T> {
    pub(super) query: T,
    format: Format,
    limit: Option<usize>,
}

impl<T> Exported<T> {
    /// That list, as it is asked for.
    pub(super) fn form(&self, sheet: Sheet) -> Form {
        Form {
            sheet,
            format: self.format,
            limit: self.limit,
        }
    }
}

/// The parameters of the list less its place, and with those of an export.
pub(super) fn shape<T: JsonSchema>(document: &mut SchemaGenerator) -> Schema {
    let mut schema = T::json_schema(document);
    let own = ExportQuery::json_schema(document);
    let own = own.get("properties").and_then(Value::as_object).cloned();
    let fields = schema.get_mut("properties").and_then(Value::as_object_mut);
    if let (Some(fields), Some(own)) = (fields, own) {
        fields.remove("after");
        let limit = json!({ "description": "Rows at most.", "type": "integer", "minimum": 1 });
        fields.insert("limit".to_owned(), limit);
        fields.extend(own);
    }
    schema
}

/// The place in a list, which an export has not, and its rows at most.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Placed {
    after: Option<String>,
    limit: Option<usize>,
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Exported<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Params(own) = Params::<ExportQuery>::from_request_parts(parts, state).await?;
        let Params(placed) = Params::<Placed>::from_request_parts(parts, state).await?;
        if placed.after.is_some() {
            let what = "after: an export is whole; `since` and `until` make it smaller";
            return Err(ApiError::new(Code::InvalidQuery, what));
        }
        let asked = parts.uri.clone();
        parts.uri = without_format(&asked)?;
        let query = Params::<T>::from_request_parts(parts, state).await;
        parts.uri = asked;
        let Params(query) = query?;
        Ok(Self {
            query,
            format: own.format,
            limit: placed.limit,
        })
    }
}

/// The address less `format`, which no list knows.
fn without_format(uri: &Uri) -> Result<Uri, ApiError> {
    let pairs = uri.query().unwrap_or_default().split('&');
    let others: Vec<&str> = pairs
        .filter(|pair| pair.split('=').next() != Some("format"))
        .collect();
    format!("{}?{}", uri.path(), others.join("&"))
        .parse()
        .map_err(|error| ApiError::internal(&error))
}

/// A list as a table: its name, and the heading of each column with where its cell
/// is in the JSON of a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sheet {
    pub(super) name: &'static str,
    pub(super) columns: &'static [(&'static str, &'static str)],
}

/// How a list is exported.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    sheet: Sheet,
    format: Format,
    /// Rows at most.
    limit: Option<usize>,
}

/// Answers with the list that `read` gives page by page. What fails before the
/// first page is there is answered as an error.
pub(super) async fn answer<L, T, F>(
    app: &App,
    form: Form,
    filter: L,
    read: impl Fn(Arc<Store>, L, PageQuery) -> F + Send + Sync + 'static,
) -> Result<Response, ApiError>
where
    L: Clone + Send + Sync + 'static,
    T: Serialize + Send + 'static,
    F: Future<Output = StoreResult<Page<T>>> + Send,
{
    if form.limit == Some(0) {
        return Err(ApiError::new(Code::InvalidQuery, "limit: use 1 or more"));
    }
    let turn = app.export_turn().ok_or_else(|| {
        tracing::warn!(list = form.sheet.name, "too many exports at a time");
        ApiError::from(Code::Overloaded).after(EXPORT_RETRY_AFTER)
    })?;
    let (pieces, body) = mpsc::channel(1);
    let mut export = Export {
        form,
        pieces,
        left: form.limit.unwrap_or(usize::MAX),
    };
    let store = Arc::clone(app.store());
    let read = move |page| read(Arc::clone(&store), filter.clone(), page);
    let first = read(export.page(None)).await?;
    let stopped = app.tasks().clone();
    app.tasks().spawn(async move {
        tokio::select! {
            () = export.run(first, read) => {}
            () = stopped.stopped() => {}
        }
        drop(turn);
    });
    let content_type = match form.format {
        Format::Csv => CSV,
        Format::Jsonl => JSONL,
    };
    let (name, ending) = (form.sheet.name, form.format.name());
    let disposition = format!("attachment; filename=\"{name}.{ending}\"");
    let headers = [
        (header::CONTENT_TYPE, content_type.to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    Ok((headers, body_of(body)).into_response())
}

enum Piece {
    Rows(Bytes),
    /// All was said. An answer that ends without it breaks off.
    End,
}

fn body_of(pieces: mpsc::Receiver<Piece>) -> Body {
    Body::from_stream(stream::unfold(Some(pieces), async |pieces| {
        let mut pieces = pieces?;
        match pieces.recv().await {
            Some(Piece::Rows(rows)) => Some((Ok(rows), Some(pieces))),
            Some(Piece::End) => None,
            None => Some((Err(io::Error::other("the export broke off")), None)),
        }
    }))
}

struct Export {
    form: Form,
    pieces: mpsc::Sender<Piece>,
    left: usize,
}

impl Export {
    fn page(&self, after: Option<Place>) -> PageQuery {
        PageQuery {
            after,
            limit: Some(self.left.min(PAGE_MAX)),
        }
    }

    async fn run<T, F>(&mut self, first: Page<T>, read: impl Fn(PageQuery) -> F)
    where
        T: Serialize,
        F: Future<Output = StoreResult<Page<T>>>,
    {
        let list = self.form.sheet.name;
        let (mut page, mut is_first) = (first, true);
        loop {
            let rows = match self.form.rows(&page.items, is_first) {
                Ok(rows) => rows,
                Err(error) => {
                    tracing::error!(list, %error, "a row cannot be exported");
                    return;
                }
            };
            if !rows.is_empty() && !self.send(Piece::Rows(rows.into())).await {
                return;
            }
            is_first = false;
            self.left = self.left.saturating_sub(page.items.len());
            let Some(next) = page.next.filter(|_| self.left > 0) else {
                break;
            };
            if self.pieces.is_closed() {
                return; // seen here too while no page has a row
            }
            page = match read(self.page(Some(next))).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::error!(list, %error, "an export broke off");
                    return;
                }
            };
        }
        self.send(Piece::End).await;
    }

    /// Whether the client took the one before, and in time.
    async fn send(&self, piece: Piece) -> bool {
        let list = self.form.sheet.name;
        let sent = tokio::time::timeout(EXPORT_STALL_MAX, self.pieces.send(piece)).await;
        match &sent {
            Ok(Ok(())) => {}
            Ok(Err(_)) => tracing::debug!(list, "the client of an export hung up"),
            Err(_) => tracing::warn!(list, "an export was not taken in time and is broken off"),
        }
        matches!(sent, Ok(Ok(())))
    }
}

impl Form {
    fn rows<T: Serialize>(&self, rows: &[T], is_first: bool) -> io::Result<Vec<u8>> {
        match self.format {
            Format::Csv => self.csv(rows, is_first),
            Format::Jsonl => {
                let mut text = Vec::new();
                for row in rows {
                    serde_json::to_writer(&mut text, row)?;
                    text.push(b'\n');
                }
                Ok(text)
            }
        }
    }

    fn csv<T: Serialize>(&self, rows: &[T], has_heading: bool) -> io::Result<Vec<u8>> {
        let columns = self.sheet.columns;
        let mut writer = csv::WriterBuilder::new()
            .terminator(csv::Terminator::CRLF)
            .from_writer(Vec::new());
        if has_heading {
            writer.write_record(columns.iter().map(|(name, _)| name))?;
        }
        for row in rows {
            let row = serde_json::to_value(row)?;
            writer.write_record(columns.iter().map(|(_, place)| cell(row.pointer(place))))?;
        }
        writer.into_inner().map_err(csv::IntoInnerError::into_error)
    }
}

/// The text of a cell; what is null or absent is empty.
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => harmless(text),
        Some(value @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_))) => {
            value.to_string()
        }
    }
}

/// A spreadsheet takes a text that begins like a formula for one and runs it; users
/// and operators choose some of these texts. An apostrophe in front makes it text.
/// One that begins with an apostrophe gets another, so that the first can be taken
/// off again without a doubt.
fn harmless(text: &str) -> String {
    let begins_formula = |c: char| matches!(c, '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '\'');
    // The same signs in full width, which some spreadsheets take for them.
    let is_wide = |c: char| matches!(c, '\u{ff1d}' | '\u{ff0b}' | '\u{ff0d}' | '\u{ff20}');
    if text.starts_with(|c| begins_formula(c) || is_wide(c)) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt as _;

    #[test]
    fn text_that_begins_like_a_formula_is_made_harmless_and_can_be_read_back() {
        for text in [
            "=1+1",
            "+1",
            "-1",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "'=1",
            "\u{ff1d}1",
        ] {
            let made = cell(Some(&json!(text)));
            assert_eq!(made.strip_prefix('\''), Some(text));
        }
        for text in ["", "u=1", "a-b", "2026-02-13T16:26:40.123456Z", "奖品"] {
            assert_eq!(cell(Some(&json!(text))), text);
        }
        assert_eq!(cell(Some(&json!(-5))), "-5", "a number is no formula");
        assert_eq!(cell(Some(&json!(null))), "");
        assert_eq!(cell(None), "");
    }

    const FORM: Form = Form {
        sheet: Sheet {
            name: "it",
            columns: &[("a", "/a"), ("b", "/in/b"), ("c", "/c")],
        },
        format: Format::Csv,
        limit: None,
    };

    /// A list without an end, of one row a page.
    async fn endless(_: PageQuery) -> StoreResult<Page<Value>> {
        Ok(Page {
            items: vec![json!({ "a": 1 })],
            next: Some(Place(1)),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn client_that_takes_nothing_is_waited_for_as_long_as_the_bound_says() {
        let (pieces, body) = mpsc::channel(1);
        let mut export = Export {
            form: FORM,
            pieces,
            left: usize::MAX,
        };
        let began = tokio::time::Instant::now();
        let first = endless(PageQuery::default()).await.unwrap();
        export.run(first, endless).await;
        assert_eq!(began.elapsed(), EXPORT_STALL_MAX);
        drop(export);
        let said: Vec<_> = body_of(body).into_data_stream().collect().await;
        assert_eq!(said.len(), 2, "one page was there to be taken");
        assert!(said[0].is_ok() && said[1].is_err(), "{said:?}");
    }

    #[test]
    fn cells_are_quoted_as_rfc_4180_says() {
        let form = FORM;
        let rows = [
            json!({ "a": "a,b", "in": { "b": "say \"hi\"" } }),
            json!({ "a": "two\r\nlines", "c": 7, "other": "unsaid" }),
        ];
        let expected = "a,b,c\r\n\"a,b\",\"say \"\"hi\"\"\",\r\n\"two\r\nlines\",,7\r\n";
        let text = form.csv(&rows, true).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    #[test]
    fn format_is_no_filter() {
        let less = |uri: &str| without_format(&uri.parse().unwrap()).unwrap().to_string();
        assert_eq!(less("/v1/x?format=csv&user=a%26b"), "/v1/x?user=a%26b");
        assert_eq!(less("/v1/x?user=format"), "/v1/x?user=format");
        assert_eq!(less("/v1/x"), "/v1/x?");
    }
}
