//! What `doctor` finds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    /// As it should be.
    Ok,
    /// It works, and will not always.
    Warning,
    /// It does not work, or a promise does not hold.
    Fault,
    /// Nobody could say.
    NotChecked,
}

impl CheckState {
    /// Its name in documents and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Fault => "fault",
            Self::NotChecked => "not_checked",
        }
    }
}

/// What a check found. Several may have one name: one for each thing that is amiss.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// What was checked; stable.
    pub name: String,
    /// How it ended.
    pub state: CheckState,
    /// What was seen.
    pub what: String,
    /// What to do; absent where nothing has to be done.
    pub mend: Option<String>,
}

/// `GET /v1/doctor`, and the document of `doctor --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DoctorDoc {
    /// Whether there is no fault.
    pub ok: bool,
    /// Every check, in order.
    pub checks: Vec<Finding>,
}

impl DoctorDoc {
    /// Of these findings.
    pub fn of(checks: Vec<Finding>) -> Self {
        let is_fault = |it: &Finding| it.state == CheckState::Fault;
        Self {
            ok: !checks.iter().any(is_fault),
            checks,
        }
    }

    /// How many ended like that.
    pub fn count(&self, state: CheckState) -> usize {
        self.checks.iter().filter(|it| it.state == state).count()
    }
}

impl Finding {
    fn new(name: &str, state: CheckState, what: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            state,
            what: what.into(),
            mend: None,
        }
    }

    /// As it should be.
    pub(crate) fn ok(name: &str, what: impl Into<String>) -> Self {
        Self::new(name, CheckState::Ok, what)
    }

    /// It works, and will not always.
    pub(crate) fn warning(name: &str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            mend: Some(mend.into()),
            ..Self::new(name, CheckState::Warning, what)
        }
    }

    /// It does not work.
    pub(crate) fn fault(name: &str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            mend: Some(mend.into()),
            ..Self::new(name, CheckState::Fault, what)
        }
    }

    /// Nobody could say, for this reason.
    pub(crate) fn not_checked(name: &str, why: &str) -> Self {
        Self::new(name, CheckState::NotChecked, format!("not checked: {why}"))
    }
}
