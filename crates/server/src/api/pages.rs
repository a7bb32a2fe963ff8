//! Pages of lists, and the parameters that all lists share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tombola_core::limits::{PAGE_DEFAULT, PAGE_MAX};

/// One page of a list, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PageOf{T}")]
pub struct Page<T> {
    /// What is on it. A page may be short, or empty, and not be the last.
    pub items: Vec<T>,
    /// Give this as `after`, with the same filters, for the next page; null on the
    /// last one.
    pub next: Option<String>,
}

/// A list without filters.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PageQuery {
    /// `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Rows of the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = PAGE_MAX), extend("default" = PAGE_DEFAULT))]
    pub limit: Option<usize>,
}

/// In which form a list is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// RFC 4180 with a heading.
    #[default]
    Csv,
    /// One JSON object a line, as the list has them.
    Jsonl,
}

impl Format {
    /// Its name, which is the ending of a file's name too.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
        }
    }
}

/// What an export takes beside the filters of its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ExportQuery {
    /// `csv`, or `jsonl`.
    pub format: Format,
}
