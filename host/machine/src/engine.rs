//! The engines a machine can run on, and what the user may ask for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What runs the guest kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Our VMM on `/dev/kvm`.
    Kvm,
    /// User Mode Linux: the kernel as an ordinary process.
    Uml,
}

impl fmt::Display for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Kvm => "kvm",
            Self::Uml => "uml",
        })
    }
}

/// What the user asked for in `DHOW_ENGINE`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EngineChoice {
    /// KVM where it works, else UML.
    #[default]
    Auto,
    /// This one or an error.
    Only(Engine),
}

/// `DHOW_ENGINE` names no engine.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown engine {0:?}: DHOW_ENGINE takes auto, kvm or uml")]
pub struct UnknownEngine(pub String);

impl FromStr for EngineChoice {
    type Err = UnknownEngine;

    fn from_str(text: &str) -> Result<Self, UnknownEngine> {
        match text {
            "" | "auto" => Ok(Self::Auto),
            "kvm" => Ok(Self::Only(Engine::Kvm)),
            "uml" => Ok(Self::Only(Engine::Uml)),
            other => Err(UnknownEngine(other.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_choice_is_auto() {
        assert_eq!("".parse(), Ok(EngineChoice::Auto));
    }

    #[test]
    fn an_unknown_engine_is_named() {
        let error = "vbox".parse::<EngineChoice>().unwrap_err();

        assert!(error.to_string().contains("vbox"));
    }
}
