//! What one process does, as `serve --roles` says it.

use std::fmt;
use std::str::FromStr;
use tombola_engine::Roles;

/// One role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServeRole {
    /// Answers the API, draws, and publishes what it drew.
    Api,
    /// Consumes and delivers.
    Worker,
    /// Puts back what is overdue.
    Rescue,
    /// Shows the console.
    Console,
}

impl ServeRole {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Api, Self::Worker, Self::Rescue, Self::Console];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Worker => "worker",
            Self::Rescue => "rescue",
            Self::Console => "console",
        }
    }
}

/// The roles of one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeRoles(Vec<ServeRole>);

/// Why roles are not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    /// Not one of the list.
    #[error("there is no role {0:?}; the roles are api, worker, rescue and console")]
    Unknown(String),
    /// The topic is in this process's memory: another one would not see it.
    #[error(
        "with broker.url = \"memory:\" one process has all the roles api, worker and rescue; {0} is missing"
    )]
    Split(&'static str),
}

impl ServeRoles {
    /// Every role.
    pub fn all() -> Self {
        Self(ServeRole::ALL.to_vec())
    }

    /// Whether this one is among them.
    pub fn has(&self, role: ServeRole) -> bool {
        self.0.contains(&role)
    }

    /// Checks that nothing of the path is left to a process that cannot see the
    /// topic in memory.
    pub fn check_with_memory_topic(&self) -> Result<(), RoleError> {
        let needed = [ServeRole::Api, ServeRole::Worker, ServeRole::Rescue];
        match needed.into_iter().find(|role| !self.has(*role)) {
            Some(missing) => Err(RoleError::Split(missing.name())),
            None => Ok(()),
        }
    }

    pub(super) fn engine(&self) -> Roles {
        Roles {
            api: self.has(ServeRole::Api),
            worker: self.has(ServeRole::Worker),
            rescue: self.has(ServeRole::Rescue),
        }
    }
}

impl FromStr for ServeRoles {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        text.split(',')
            .map(str::trim)
            .map(|name| {
                let role = ServeRole::ALL.into_iter().find(|role| role.name() == name);
                role.ok_or_else(|| RoleError::Unknown(name.to_owned()))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl fmt::Display for ServeRoles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|role| role.name()).collect();
        f.write_str(&names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_roles_are_refused_with_a_topic_in_memory() {
        let check = |text: &str| {
            text.parse::<ServeRoles>()
                .unwrap()
                .check_with_memory_topic()
        };
        assert_eq!(check("api,worker,rescue"), Ok(()));
        assert_eq!(check("api, rescue, worker, console"), Ok(()));
        assert_eq!(check("api,rescue"), Err(RoleError::Split("worker")));
        assert_eq!(ServeRoles::all().check_with_memory_topic(), Ok(()));
        assert!("api,wroker".parse::<ServeRoles>().is_err());
    }
}
