//! What `doctor` found, for people.

use crate::api::{CheckState, DoctorDoc};
use crate::print::Out;

/// The document with `--json`, else a line a check with the mend below it.
pub(in crate::cli) fn doctor(out: Out, it: &DoctorDoc) -> std::io::Result<()> {
    if out.is_json() {
        return out.json(it);
    }
    let word = |state: CheckState| {
        if state == CheckState::NotChecked {
            "-"
        } else {
            state.name()
        }
    };
    for finding in &it.checks {
        let (state, name) = (word(finding.state), &finding.name);
        out.line(&format!("{state:<8} {name:<24} {}", finding.what))?;
        if let Some(mend) = &finding.mend {
            out.line(&format!("{:<8} mend: {mend}", ""))?;
        }
    }
    let (faults, warnings) = (it.count(CheckState::Fault), it.count(CheckState::Warning));
    out.line(&match (faults, warnings) {
        (0, 0) => "all is well".to_owned(),
        _ => format!("{faults} faults, {warnings} warnings"),
    })
}
