//! Files of this machine: campaign files, code files beside them, endpoint files.

use crate::api::{ImportQuery, ImportedDoc};
use crate::client::Api;
use crate::print::Out;
use crate::random;
use anyhow::{Context as _, bail};
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tokio_util::io::ReaderStream;
use tombola_core::campaign::{CampaignFile, Problem, parse_toml};
use tombola_core::endpoint::EndpointSpec;

/// Bytes of a code file sent at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// A request key for a call that nobody gave one for.
pub(crate) fn new_request_key() -> String {
    format!("cli-{}", URL_SAFE_NO_PAD.encode(random::bytes::<15>()))
}

/// Reads and checks a campaign file.
pub(crate) fn read_campaign(path: &Path) -> anyhow::Result<Result<CampaignFile, Vec<Problem>>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Ok(parse_toml(&path.display().to_string(), &text))
}

/// A problem for programs.
pub(super) fn problem_document(problem: &Problem) -> Value {
    let (line, column) = problem.place.unzip();
    json!({ "pointer": problem.path, "line": line, "column": column, "what": problem.what, "mend": problem.mend })
}

/// Imports the code file beside a campaign file for each prize that names one and
/// has no codes yet.
pub(crate) async fn import_missing_codes(
    api: &Api,
    path: &Path,
    file: &CampaignFile,
    out: Out,
) -> anyhow::Result<Vec<ImportedDoc>> {
    let mut imported = Vec::new();
    let campaign = &file.campaign.slug;
    let stats = super::show::whole(async |page| api.code_stats(campaign, &page).await).await?;
    for prize in &file.prize {
        let Some(codes) = &prize.codes else { continue };
        if stats
            .iter()
            .any(|it| it.prize == prize.slug && it.total > 0)
        {
            continue;
        }
        let codes = path.parent().unwrap_or(Path::new("")).join(codes);
        let done =
            import_codes(api, campaign, &prize.slug, &codes, &Import::default(), out).await?;
        out.note(&format!(
            "{campaign}/{}: {} codes imported from {}",
            prize.slug,
            done.imported,
            codes.display()
        ));
        imported.push(done);
    }
    Ok(imported)
}

/// How a code file is imported.
#[derive(Debug, Clone, Default)]
pub(crate) struct Import {
    /// Pass by codes that the campaign has already.
    pub(crate) skip_duplicates: bool,
    /// The request key; made where none is given.
    pub(crate) key: Option<String>,
}

/// Sends a code file, with a progress bar.
pub(crate) async fn import_codes(
    api: &Api,
    campaign: &str,
    prize: &str,
    path: &Path,
    how: &Import,
    out: Out,
) -> anyhow::Result<ImportedDoc> {
    let name = path.display().to_string();
    let file = tokio::fs::File::open(path)
        .await
        .with_context(|| name.clone())?;
    let bar = out.progress_bytes(&name, file.metadata().await?.len());
    let shown = bar.clone();
    let count = move |chunk: &std::io::Result<bytes::Bytes>| {
        let bytes = chunk.as_ref().map_or(0, bytes::Bytes::len);
        shown.inc(u64::try_from(bytes).unwrap_or_default());
    };
    let chunks = ReaderStream::with_capacity(file, CHUNK_BYTES).inspect(count);
    let query = ImportQuery {
        skip_duplicates: how.skip_duplicates,
    };
    let key = how.key.clone().unwrap_or_else(new_request_key);
    let done = api
        .import_codes(campaign, prize, &query, Body::from_stream(chunks), &key)
        .await;
    bar.finish_and_clear();
    done.with_context(|| name)
}

/// An endpoint file: one or more `[[endpoint]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndpointFile {
    endpoint: Vec<EndpointInFile>,
}

#[derive(Debug, Deserialize)]
struct EndpointInFile {
    secret_file: Option<String>,
    #[serde(flatten)]
    spec: toml::Table,
}

/// Reads an endpoint file; a `secret_file` is read relative to it.
pub(super) fn read_endpoints(path: &Path) -> anyhow::Result<Vec<EndpointSpec>> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).with_context(|| name.clone())?;
    let file: EndpointFile = toml::from_str(&text).with_context(|| name.clone())?;
    if file.endpoint.is_empty() {
        bail!("{name}: there is no [[endpoint]]");
    }
    file.endpoint
        .into_iter()
        .map(|endpoint| read_endpoint(endpoint, path).with_context(|| name.clone()))
        .collect()
}

fn read_endpoint(endpoint: EndpointInFile, path: &Path) -> anyhow::Result<EndpointSpec> {
    let mut spec: EndpointSpec = endpoint.spec.try_into()?;
    if let Some(secret_file) = endpoint.secret_file {
        if spec.secret.is_some() {
            bail!("{}: give secret or secret_file, not both", spec.name);
        }
        let secret_path = path.parent().unwrap_or(Path::new("")).join(&secret_file);
        let secret =
            fs::read_to_string(&secret_path).with_context(|| secret_path.display().to_string())?;
        spec.secret = Some(secret.trim().to_owned());
    }
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_file_is_read_beside_the_endpoint_file() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("secret"), "whsec_abc\n").unwrap();
        let path = temp.path().join("endpoints.toml");
        let text = "[[endpoint]]\nname = \"a\"\nurl = \"https://a.example\"\nidempotent = true\nsecret_file = \"secret\"\n";
        fs::write(&path, text).unwrap();
        assert_eq!(
            read_endpoints(&path).unwrap()[0].secret.as_deref(),
            Some("whsec_abc")
        );
        fs::write(&path, text.replace("idempotent = true\n", "")).unwrap();
        assert!(format!("{:#}", read_endpoints(&path).unwrap_err()).contains("idempotent"));
        fs::write(&path, format!("{text}colour = 1\n")).unwrap();
        assert!(format!("{:#}", read_endpoints(&path).unwrap_err()).contains("colour"));
    }
}
