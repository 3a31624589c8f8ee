//! `dhow login` and `dhow logout`.

use std::io::{self, BufRead, Read, Write};

use anyhow::Context as _;
use dhow_api::client::RegistryAuth;
use rustix::termios::{self, LocalModes, OptionalActions};

use crate::args::system::{LoginArgs, LogoutArgs};
use crate::context::Context;
use crate::credentials;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::terminal::window;

/// Longest password read from standard input.
const MAX_PASSWORD_BYTES: u64 = 64 << 10;

/// `dhow login`.
pub(crate) async fn login(context: &Context, args: LoginArgs) -> Outcome {
    let server = args.server.clone().unwrap_or_default();
    let mut auth = match (&args.username, &args.password, args.password_stdin) {
        (None, None, false) => credentials::for_registry(&server)?,
        _ => RegistryAuth::default(),
    };
    if auth.is_empty() {
        auth = ask(&args)?;
    }
    auth.server_address = credentials::shown(&server);
    let client = context.client().await?;
    let answer = client.login(&auth).await.map_err(|error| {
        let denied = error.status() == Some(401);
        let failure = Failure::from(error);
        match denied {
            true => failure.hint("check the user name and the password"),
            false => failure,
        }
    })?;
    if !answer.identity_token.is_empty() {
        auth.identity_token = answer.identity_token;
    }
    let place = credentials::keep(&auth)?;
    if args.password.is_some() {
        output::note(
            "warning: a password on the command line can be seen by others; --password-stdin cannot",
        );
    }
    if !place.contains("helper") {
        output::note(&format!(
            "warning: the password is kept unencrypted in {place}"
        ));
    }
    let status = answer.status;
    output::line(if status.is_empty() {
        "Login Succeeded"
    } else {
        &status
    })?;
    Ok(0)
}

/// Who it is, from the flags or the keyboard.
fn ask(args: &LoginArgs) -> Result<RegistryAuth, Failure> {
    let terminal = window::stdin_is_terminal();
    let username = match &args.username {
        Some(username) => username.clone(),
        None if args.password_stdin || !terminal => {
            return Err(Failure::new("there is no user name").hint("give it with --username"));
        }
        None => prompt("Username: ")?,
    };
    let password = match &args.password {
        Some(password) => password.clone(),
        None if args.password_stdin => {
            let mut password = String::new();
            let mut input = io::stdin().lock().take(MAX_PASSWORD_BYTES);
            input
                .read_to_string(&mut password)
                .context("failed to read the password")?;
            password.trim_end_matches(['\n', '\r']).to_owned()
        }
        None if !terminal => {
            return Err(Failure::new("there is no password").hint("send it with --password-stdin"));
        }
        None => secretly(|| prompt("Password: "))?,
    };
    if username.is_empty() || password.is_empty() {
        return Err(Failure::new("user name and password must not be empty"));
    }
    Ok(RegistryAuth {
        username,
        password,
        ..RegistryAuth::default()
    })
}

fn prompt(text: &str) -> Result<String, Failure> {
    let mut stderr = io::stderr();
    let _unreadable = stderr.write_all(text.as_bytes());
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// Reads without showing what is typed.
fn secretly(read: impl FnOnce() -> Result<String, Failure>) -> Result<String, Failure> {
    let stdin = io::stdin();
    let before = termios::tcgetattr(&stdin)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    termios::tcsetattr(&stdin, OptionalActions::Flush, &silent)?;
    let typed = read();
    let restored = termios::tcsetattr(&stdin, OptionalActions::Now, &before);
    let _unreadable = io::stderr().write_all(b"\n");
    restored?;
    typed
}

/// `dhow logout`.
pub(crate) fn logout(args: &LogoutArgs) -> Outcome {
    let server = args.server.clone().unwrap_or_default();
    let shown = credentials::shown(&server);
    if credentials::forget(&server)? {
        output::line(&format!("Removing login credentials for {shown}"))?;
    } else {
        output::line(&format!("Not logged in to {shown}"))?;
    }
    Ok(0)
}
