//! `dhow exec`.

use std::env;
use std::sync::Arc;

use dhow_api::client::ExecOptions;

use super::attached::{
    Attachment, Ended, Process, check_input_is_terminal, raw_mode, shell_code, start_failure,
};
use crate::args::lifecycle::ExecArgs;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::resolve::environment;
use crate::terminal::detach_keys::DetachKeys;
use crate::terminal::session::{Session, SessionEnd};
use crate::terminal::signals::Signals;
use crate::terminal::window;

/// `dhow exec`.
pub(crate) async fn exec(context: &Context, args: ExecArgs) -> Outcome {
    let stdin = args.interactive && !args.detach;
    check_input_is_terminal(args.tty, stdin).map_err(|failure| failure.code(1))?;
    let keys = DetachKeys::parse(args.detach_keys.as_deref())?;
    let options = options(&args, stdin)?;
    let client = Arc::new(context.client().await?);
    let id = client.create_exec(&args.container, &options).await?;
    if args.detach {
        client
            .start_exec_detached(&id, args.tty)
            .await
            .map_err(|e| start_failure(e.into()))?;
        output::raw("")?;
        return Ok(0);
    }
    let mut signals = Signals::catch()?;
    let hijacked = client
        .start_exec(&id, &options)
        .await
        .map_err(|e| start_failure(e.into()))?;
    let tty = args.tty;
    let raw = raw_mode(tty, stdin)?;
    let session = Session {
        tty,
        stdin,
        detach_keys: tty.then_some(keys),
    };
    let attachment = Attachment {
        client: Arc::clone(&client),
        process: Process::Exec(id.clone()),
        tty: tty && stdin,
        // The API has no call that sends a signal to a further process.
        pass_signals: false,
    };
    let work = async {
        match session.carry(hijacked).await? {
            SessionEnd::Detached => Ok(0),
            SessionEnd::Closed => exit_code(&client, &id).await,
        }
    };
    let ended = attachment.supervise(&mut signals, work).await;
    drop(raw);
    ended.map(Ended::code)
}

fn options(args: &ExecArgs, stdin: bool) -> Result<ExecOptions, Failure> {
    let lookup = |name: &str| env::var(name).ok();
    let size = if args.tty { window::size() } else { None };
    Ok(ExecOptions {
        cmd: args.command.clone(),
        env: environment::resolve(&args.env, &args.env_file, &lookup)?,
        attach_stdin: stdin,
        attach_stdout: !args.detach,
        attach_stderr: !args.detach,
        tty: args.tty,
        console_size: size.map(|size| [size.rows, size.columns]),
        privileged: args.privileged,
        user: args.user.clone(),
        working_dir: args.workdir.clone(),
        detach_keys: args.detach_keys.clone(),
    })
}

/// The stream has ended; so has the process, unless it only closed its output.
async fn exit_code(client: &dhow_api::client::Client, id: &str) -> Result<u8, Failure> {
    let state = client.inspect_exec(id).await?;
    Ok(if state.running {
        0
    } else {
        shell_code(state.exit_code.unwrap_or(0))
    })
}
