//! The audit for people.

use crate::api::AuditReport;
use crate::print::Out;

/// The audit: the document with `--json`, else two tables and a verdict.
pub(crate) fn audit(out: Out, it: &AuditReport) -> std::io::Result<()> {
    if out.is_json() {
        return out.json(it);
    }
    let campaigns: Vec<Vec<String>> = it
        .campaigns
        .iter()
        .map(|it| {
            let counts = [
                it.draws,
                it.wins,
                it.delivered,
                it.unfinished,
                it.held,
                it.dead,
                it.cancelled,
            ];
            [it.campaign.clone()]
                .into_iter()
                .chain(counts.map(|count| count.to_string()))
                .collect()
        })
        .collect();
    let head = [
        "CAMPAIGN",
        "DRAWS",
        "WINS",
        "DELIVERED",
        "UNFINISHED",
        "HELD",
        "DEAD",
        "CANCELLED",
    ];
    out.table(&head, &campaigns)?;
    out.line("")?;
    let checks: Vec<Vec<String>> = it
        .checks
        .iter()
        .map(|check| {
            let said = if check.violations == 0 {
                "ok".to_owned()
            } else {
                format!("{} violations", check.violations)
            };
            vec![check.name.clone(), said]
        })
        .collect();
    out.table(&["CHECK", "FOUND"], &checks)?;
    for check in it.checks.iter().filter(|check| check.violations > 0) {
        check
            .examples
            .iter()
            .try_for_each(|example| out.line(&format!("{}: {example}", check.name)))?;
    }
    out.line(if it.ok {
        "the audit is clean"
    } else {
        "the audit found violations"
    })
}
