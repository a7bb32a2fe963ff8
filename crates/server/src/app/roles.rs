//! What one process does, as `serve --roles` says it.

use crate::config::Config;
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
    /// The file of the database is open in one process.
    #[error(
        "with database.url = \"sqlite://…\" one process has all the roles api, worker and rescue; {0} is missing"
    )]
    SplitOnFile(&'static str),
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

    /// Checks that nothing of the path is left to a process that cannot see the topic,
    /// which may be in this one's memory, or the database, which may be its file.
    pub fn check(&self, config: &Config) -> Result<(), RoleError> {
        let needed = [ServeRole::Api, ServeRole::Worker, ServeRole::Rescue];
        let Some(missing) = needed.into_iter().find(|role| !self.has(*role)) else {
            return Ok(());
        };
        if config.broker.brokers().is_none() {
            Err(RoleError::Split(missing.name()))
        } else if !config.database.is_postgres() {
            Err(RoleError::SplitOnFile(missing.name()))
        } else {
            Ok(())
        }
    }

    /// A desk is in every process, for draws by commands of its machine; without the
    /// role api it has no relay, and rescue publishes what it drew.
    pub(super) fn engine(&self) -> Roles {
        Roles {
            api: true,
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

    fn check(roles: &str, database: &str, broker: &str) -> Result<(), RoleError> {
        let mut config = Config::default();
        database.clone_into(&mut config.database.url);
        broker.clone_into(&mut config.broker.url);
        roles.parse::<ServeRoles>().unwrap().check(&config)
    }

    #[test]
    fn split_roles_are_refused_with_a_topic_in_memory() {
        for database in ["sqlite://tombola.db", "postgres://u:p@h/d"] {
            let check = |roles| check(roles, database, "memory:");
            assert_eq!(check("api,worker,rescue"), Ok(()));
            assert_eq!(check("api, rescue, worker, console"), Ok(()));
            assert_eq!(check("api,rescue"), Err(RoleError::Split("worker")));
        }
        assert_eq!(ServeRoles::all().check(&Config::default()), Ok(()));
        assert!("api,wroker".parse::<ServeRoles>().is_err());
    }

    #[test]
    fn split_roles_are_refused_with_a_file_and_fine_with_kafka_and_postgresql() {
        let kafka = "kafka://h1:9092";
        let on_file = |roles| check(roles, "sqlite://tombola.db", kafka);
        assert_eq!(on_file("worker"), Err(RoleError::SplitOnFile("api")));
        assert_eq!(on_file("api,worker,rescue"), Ok(()));
        for role in ServeRole::ALL {
            let on_server = check(role.name(), "postgres://u:p@h/d", kafka);
            assert_eq!(on_server, Ok(()), "{}", role.name());
        }
    }
}
