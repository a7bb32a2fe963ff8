//! A section of the config as one list of fields: the struct, its defaults and
//! its reference come from the same lines, so that none can be forgotten.

/// What the reference says of a section.
#[derive(Debug, Clone, Copy)]
pub(super) struct About {
    /// Its name in the file.
    pub(super) name: &'static str,
    /// What it is for.
    pub(super) doc: &'static str,
    /// Its fields, in order, with their doc lines.
    pub(super) fields: &'static [(&'static str, &'static str)],
}

/// A value that cannot be, named by its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Complaint {
    /// `section.key`
    pub(super) key: &'static str,
    /// What is wrong, and the mend.
    pub(super) what: String,
}

impl Complaint {
    pub(super) fn new(key: &'static str, what: impl Into<String>) -> Self {
        Self {
            key,
            what: what.into(),
        }
    }
}

macro_rules! section {
    ($(#[doc = $about:literal])+ $name:ident [$section:literal] {
        $($(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:expr,)+
    }) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name { $($(#[doc = $doc])+ pub $field: $type,)+ }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl $name {
            pub(super) const ABOUT: $crate::config::section::About = $crate::config::section::About {
                name: $section,
                doc: concat!($($about, "\n"),+),
                fields: &[$((stringify!($field), concat!($($doc, "\n"),+)),)+],
            };
        }
    };
}
pub(super) use section;
