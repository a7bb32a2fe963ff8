//! Lists, page by page.

use crate::api::{Page, PageQuery};
use crate::client::ClientError;
use crate::print::Out;
use axum::body::Body;
use futures_util::StreamExt as _;
use serde::Serialize;
use std::process::ExitCode;
use tombola_core::limits;

/// Prints a list of at most `limit` rows: objects a line with `--json`, else a
/// table. `page` fetches the page after a cursor.
pub(in crate::cli) async fn pages<T: Serialize>(
    out: Out,
    limit: usize,
    head: &[&str],
    page: impl AsyncFn(Option<String>, usize) -> Result<Page<T>, ClientError>,
    row: fn(&T) -> Vec<String>,
) -> anyhow::Result<ExitCode> {
    let mut rows = Vec::new();
    let has_more = each_page(limit, page, |item| {
        if out.is_json() {
            out.json(item)?;
        } else {
            rows.push(row(item));
        }
        Ok(())
    })
    .await?;
    if !out.is_json() {
        out.table(head, &rows)?;
    }
    if has_more {
        out.note(&format!(
            "there are more; --limit says how many are shown (now {limit})"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints an export as it comes. One that breaks off is an error: what was printed
/// is not all.
pub(in crate::cli) async fn export(out: Out, body: Body) -> anyhow::Result<ExitCode> {
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| {
            anyhow::anyhow!("the export broke off, and what was printed is not all: {error}")
        })?;
        out.bytes(&piece)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A whole list, of which there is never much.
pub(in crate::cli) async fn whole<T>(
    page: impl AsyncFn(PageQuery) -> Result<Page<T>, ClientError>,
) -> Result<Vec<T>, ClientError> {
    let (mut items, mut after) = (Vec::new(), None);
    loop {
        let limit = Some(limits::PAGE_MAX);
        let fetched = page(PageQuery { after, limit }).await?;
        items.extend(fetched.items);
        after = fetched.next;
        if after.is_none() {
            return Ok(items);
        }
    }
}

/// Whether there are more than were asked for.
async fn each_page<T>(
    limit: usize,
    page: impl AsyncFn(Option<String>, usize) -> Result<Page<T>, ClientError>,
    mut show: impl FnMut(&T) -> anyhow::Result<()>,
) -> anyhow::Result<bool> {
    let (mut left, mut after) = (limit, None);
    while left > 0 {
        let fetched = page(after, left.min(limits::PAGE_MAX)).await?;
        left = left.saturating_sub(fetched.items.len());
        fetched.items.iter().try_for_each(&mut show)?;
        after = fetched.next;
        if after.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}
