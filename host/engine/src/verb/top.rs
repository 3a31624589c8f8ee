//! Lists a container's processes the way `ps` does, which a machine has no program for.

use std::time::{SystemTime, UNIX_EPOCH};

use dhow_protocol::{ProcessFacts, Reply, Request};

use crate::class::{Classified, ErrorClass};
use crate::container::{LookupError, Phase};
use crate::engine::Engine;
use crate::guest::GuestError;
use crate::time::Timestamp;

/// Columns of `ps -ef`, which is what Docker asks for unless told otherwise.
const FULL: [Column; 8] = [
    Column::User,
    Column::Pid,
    Column::Parent,
    Column::CpuShare,
    Column::Started,
    Column::Terminal,
    Column::Time,
    Column::Command,
];

/// Columns of `ps aux`, as far as a container has them.
const AUX: [Column; 9] = [
    Column::User,
    Column::Pid,
    Column::CpuShare,
    Column::VirtualSize,
    Column::ResidentSize,
    Column::Terminal,
    Column::State,
    Column::Started,
    Column::Command,
];

const KIBIBYTE: u64 = 1024;
const SECONDS_PER_DAY: u64 = 24 * 3600;

/// A column of `ps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    User,
    UserId,
    Pid,
    Parent,
    CpuShare,
    Started,
    Terminal,
    Time,
    State,
    VirtualSize,
    ResidentSize,
    Name,
    Command,
}

/// Words of `ps -o` with the column and the title each has (ps(1), "STANDARD FORMAT SPECIFIERS").
const WORDS: [(&str, Column, &str); 26] = [
    ("user", Column::User, "USER"),
    ("euser", Column::User, "EUSER"),
    ("uname", Column::User, "USER"),
    ("uid", Column::UserId, "UID"),
    ("euid", Column::UserId, "EUID"),
    ("pid", Column::Pid, "PID"),
    ("ppid", Column::Parent, "PPID"),
    ("c", Column::CpuShare, "C"),
    ("pcpu", Column::CpuShare, "%CPU"),
    ("%cpu", Column::CpuShare, "%CPU"),
    ("stime", Column::Started, "STIME"),
    ("start", Column::Started, "STARTED"),
    ("tty", Column::Terminal, "TT"),
    ("tt", Column::Terminal, "TT"),
    ("time", Column::Time, "TIME"),
    ("cputime", Column::Time, "TIME"),
    ("s", Column::State, "S"),
    ("stat", Column::State, "STAT"),
    ("state", Column::State, "S"),
    ("vsz", Column::VirtualSize, "VSZ"),
    ("rss", Column::ResidentSize, "RSS"),
    ("comm", Column::Name, "COMMAND"),
    ("ucmd", Column::Name, "CMD"),
    ("cmd", Column::Command, "CMD"),
    ("args", Column::Command, "COMMAND"),
    ("command", Column::Command, "COMMAND"),
];

/// The processes of a container as a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessTable {
    /// Titles of the columns.
    pub titles: Vec<String>,
    /// A row for each process.
    pub rows: Vec<Vec<String>>,
}

/// Why no processes were listed.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    /// No such container.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// It has none.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// It is about to be started again.
    #[error("Container {0} is restarting, wait until the container is running")]
    Restarting(String),
    /// Only some of what `ps` can do is here.
    #[error(
        "ps option \"{0}\" is not supported by dhow yet: there are -ef, aux and -o with columns"
    )]
    Option(String),
    /// A column that is not here.
    #[error("ps column \"{0}\" is not supported by dhow yet")]
    Column(String),
    /// Docker needs it to tell whose processes they are.
    #[error("Couldn't find PID field in ps output")]
    NoPid,
    /// The machine failed.
    #[error("failed to list the container's processes")]
    Guest(#[source] GuestError),
}

impl Classified for TopError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Lookup(error) => error.class(),
            Self::NotRunning(_) | Self::Restarting(_) => ErrorClass::Conflict,
            Self::Option(_) | Self::Column(_) | Self::NoPid => ErrorClass::InvalidParameter,
            Self::Guest(_) => ErrorClass::Internal,
        }
    }
}

impl Engine {
    /// The processes of a container, in the columns that these arguments of `ps` ask for.
    ///
    /// # Errors
    /// [`TopError`].
    pub async fn top(&self, reference: &str, arguments: &str) -> Result<ProcessTable, TopError> {
        let columns = columns(arguments)?;
        let container = self.container(reference)?;
        let not_running = || TopError::NotRunning(container.id().to_string());
        match container.status().phase {
            Phase::Running { .. } | Phase::Paused { .. } => {}
            Phase::Restarting => return Err(TopError::Restarting(reference.to_owned())),
            _ => return Err(not_running()),
        }
        let lease = self.machine().running().ok_or_else(not_running)?;
        let request = Request::Processes {
            container: container.id().to_string(),
        };
        let processes = match lease.guest().call(&request).await {
            Ok(Reply::Processes(processes)) => processes,
            Ok(other) => return Err(TopError::Guest(GuestError::OutOfTurn(Box::new(other)))),
            Err(error) => return Err(TopError::Guest(error)),
        };
        let action = format!("top: {arguments}");
        self.announce(&container, action.trim_end_matches(": "), &[]);
        Ok(table(&columns, &processes, now_ms()))
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

/// Columns and their titles.
fn columns(arguments: &str) -> Result<Vec<(Column, String)>, TopError> {
    let mut words = arguments.split_whitespace();
    let titled = |columns: &[Column], user: &str| {
        let title = |column: &Column| match column {
            Column::User => (Column::User, user.to_owned()),
            other => (*other, usual_title(*other).to_owned()),
        };
        columns.iter().map(title).collect()
    };
    let asked: Vec<(Column, String)> = match words.next() {
        None | Some("-ef" | "ef" | "-fe") => titled(&FULL, "UID"),
        Some("aux" | "-aux") => titled(&AUX, "USER"),
        Some("-o" | "-eo" | "o" | "-efo") => {
            let list: Vec<&str> = words.by_ref().collect();
            let list = list.join(",");
            let parts = list.split(',').filter(|part| !part.is_empty());
            parts.map(column).collect::<Result<_, _>>()?
        }
        Some(other) => match other.strip_prefix("-o").or(other.strip_prefix("-eo")) {
            Some(list) => list.split(',').map(column).collect::<Result<_, _>>()?,
            None => return Err(TopError::Option(other.to_owned())),
        },
    };
    if let Some(rest) = words.next() {
        return Err(TopError::Option(rest.to_owned()));
    }
    if !asked.iter().any(|(column, _)| *column == Column::Pid) {
        return Err(TopError::NoPid);
    }
    Ok(asked)
}

/// One word of a list of columns, which may bring its title: `pid=Number`.
fn column(word: &str) -> Result<(Column, String), TopError> {
    let (name, title) = word
        .split_once('=')
        .map_or((word, None), |(name, title)| (name, Some(title)));
    let known = WORDS.iter().find(|(known, _, _)| *known == name);
    let (_, column, usual) = known.ok_or_else(|| TopError::Column(name.to_owned()))?;
    Ok((*column, title.unwrap_or(usual).to_owned()))
}

fn usual_title(column: Column) -> &'static str {
    match column {
        Column::User => "USER",
        Column::UserId => "UID",
        Column::Pid => "PID",
        Column::Parent => "PPID",
        Column::CpuShare => "C",
        Column::Started => "STIME",
        Column::Terminal => "TTY",
        Column::Time => "TIME",
        Column::State => "STAT",
        Column::VirtualSize => "VSZ",
        Column::ResidentSize => "RSS",
        Column::Name | Column::Command => "CMD",
    }
}

fn table(columns: &[(Column, String)], processes: &[ProcessFacts], now_ms: u64) -> ProcessTable {
    let row = |process: &ProcessFacts| {
        let cells = columns
            .iter()
            .map(|(column, _)| cell(*column, process, now_ms));
        cells.collect()
    };
    ProcessTable {
        titles: columns.iter().map(|(_, title)| title.clone()).collect(),
        rows: processes.iter().map(row).collect(),
    }
}

fn cell(column: Column, process: &ProcessFacts, now_ms: u64) -> String {
    match column {
        // Names of other users are the container's business; the machine has none.
        Column::User if process.uid == 0 => "root".to_owned(),
        Column::User | Column::UserId => process.uid.to_string(),
        Column::Pid => process.pid.to_string(),
        Column::Parent => process.parent.to_string(),
        Column::CpuShare => {
            let lived = now_ms.saturating_sub(process.started_unix_ms).max(1);
            (process.cpu_ms.saturating_mul(100) / lived)
                .min(99)
                .to_string()
        }
        Column::Started => started(process.started_unix_ms, now_ms),
        Column::Terminal => process
            .terminal
            .map_or_else(|| "?".to_owned(), |number| format!("pts/{number}")),
        Column::Time => clock(process.cpu_ms / 1000),
        Column::State => process.state.to_string(),
        Column::VirtualSize => (process.virtual_bytes / KIBIBYTE).to_string(),
        Column::ResidentSize => (process.resident_bytes / KIBIBYTE).to_string(),
        Column::Name => name(&process.command),
        Column::Command => process.command.clone(),
    }
}

/// The first word's last part.
fn name(command: &str) -> String {
    let first = command.split(' ').next().unwrap_or_default();
    let last = first.rsplit('/').next().unwrap_or_default();
    last.trim_matches(['[', ']']).to_owned()
}

/// As `ps`: the time of day, or the day once that is another.
fn started(at_ms: u64, now_ms: u64) -> String {
    let seconds = i64::try_from(at_ms / 1000).unwrap_or(i64::MAX);
    // 2026-11-22T15:04:05Z: in UTC, for the machine knows no other zone.
    let text = Timestamp::from_seconds(seconds).to_string();
    let is_today = now_ms / 1000 / SECONDS_PER_DAY == at_ms / 1000 / SECONDS_PER_DAY;
    let part = if is_today {
        text.get(11..16)
    } else {
        text.get(5..10)
    };
    part.unwrap_or(&text).to_owned()
}

fn clock(seconds: u64) -> String {
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    format!("{:02}:{:02}:{seconds:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-22T15:00:00Z.
    const NOW_MS: u64 = 1_795_359_600_000;

    fn sleep() -> ProcessFacts {
        ProcessFacts {
            pid: 42,
            parent: 1,
            uid: 0,
            state: 'S',
            terminal: None,
            cpu_ms: 61_000,
            started_unix_ms: NOW_MS - 3_600_000,
            virtual_bytes: 8192,
            resident_bytes: 4096,
            command: "/bin/sleep 1000".to_owned(),
        }
    }

    fn shown(arguments: &str) -> ProcessTable {
        table(&columns(arguments).unwrap(), &[sleep()], NOW_MS)
    }

    #[test]
    fn the_usual_table_is_that_of_ps_ef() {
        let table = shown("");

        assert_eq!(
            table.titles,
            ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
        );
        assert_eq!(
            table.rows[0],
            [
                "root",
                "42",
                "1",
                "1",
                "14:00",
                "?",
                "00:01:01",
                "/bin/sleep 1000"
            ]
        );
    }

    #[test]
    fn columns_can_be_chosen() {
        assert_eq!(shown("-o pid,comm").rows[0], ["42", "sleep"]);
        assert_eq!(shown("-eo pid=Number,rss").titles, ["Number", "RSS"]);
        assert_eq!(shown("-opid,cmd").titles, ["PID", "CMD"]);
    }

    #[test]
    fn without_process_ids_it_is_refused() {
        assert!(matches!(columns("-o cmd"), Err(TopError::NoPid)));
        assert!(matches!(columns("-o pid,wchan"), Err(TopError::Column(_))));
        assert!(matches!(columns("--forest"), Err(TopError::Option(_))));
    }
}
