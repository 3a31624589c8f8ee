//! Doing it: a file per verb, or per few verbs that are one thought.
//!
//! The third of three layers. A verb first resolves what was typed, then connects, then acts;
//! [`dispatch`] only says which file that is.

mod attach;
mod attached;
mod completion;
mod cp;
mod create;
mod daemon;
mod doctor;
mod each;
mod env;
mod events;
mod exec;
mod files;
mod history;
mod image;
mod images;
mod import;
mod info;
mod inspect;
mod load;
mod login;
mod logs;
mod machine;
mod network;
mod port;
mod ps;
mod rmi;
mod run;
mod save;
mod search;
mod start;
mod stats;
mod top;
mod transfer;
mod update;
mod version;
mod wait;

use crate::args::Verb;
use crate::args::system::DaemonVerb;
use crate::context::Context;
use crate::faces;
use crate::failure::Outcome;

/// Does what was asked for and says which exit code the shell gets.
pub(crate) fn dispatch(verb: Verb, context: &Context) -> Outcome {
    match verb {
        Verb::Daemon(args) => match args.verb {
            None => faces::daemon::run(&args),
            Some(DaemonVerb::Stop) => daemon::stop(),
        },
        Verb::Vmm(args) if args.probe => face(faces::vmm::probe()),
        Verb::Vmm(_) => face(faces::vmm::run()),
        Verb::Devices => face(faces::devices::run()),
        Verb::Completion(args) => completion::completion(&args),
        Verb::Env(args) => env::env(context, &args),
        Verb::Doctor(args) => doctor::doctor(&args),
        Verb::Logout(args) => login::logout(&args),
        other => on_client_runtime(other, context),
    }
}

/// What a face leaves: its errors are for the daemon's log, which is its standard error.
fn face(ended: anyhow::Result<()>) -> Outcome {
    ended.map(|()| 0).map_err(Into::into)
}

/// Clients are one thread: starting more would cost a warm command more than its own work.
fn on_client_runtime(verb: Verb, context: &Context) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(client_verb(verb, context));
    // A helper thread may still wait for a slow reader; it must not keep us.
    runtime.shutdown_background();
    outcome
}

async fn client_verb(verb: Verb, context: &Context) -> Outcome {
    match verb {
        Verb::Run(args) => run::run(context, *args).await,
        Verb::Create(args) => create::create(context, *args).await,
        Verb::Start(args) => start::start(context, args).await,
        Verb::Attach(args) => attach::attach(context, args).await,
        Verb::Exec(args) => exec::exec(context, args).await,
        Verb::Stop(args) => each::stop(context, args).await,
        Verb::Restart(args) => each::restart(context, args).await,
        Verb::Kill(args) => each::kill(context, args).await,
        Verb::Pause(args) => each::pause(context, args).await,
        Verb::Unpause(args) => each::unpause(context, args).await,
        Verb::Rm(args) => each::remove(context, args).await,
        Verb::Rename(args) => each::rename(context, args).await,
        Verb::Wait(args) => wait::wait(context, args).await,
        Verb::Ps(args) => ps::ps(context, args).await,
        Verb::Logs(args) => logs::logs(context, args).await,
        Verb::Inspect(args) => inspect::inspect(context, args).await,
        Verb::Cp(args) => cp::cp(context, args).await,
        Verb::Diff(args) => files::diff(context, args).await,
        Verb::Commit(args) => files::commit(context, args).await,
        Verb::Export(args) => files::export(context, args).await,
        Verb::Update(args) => update::update(context, *args).await,
        Verb::Stats(args) => stats::stats(context, args).await,
        Verb::Top(args) => top::top(context, args).await,
        Verb::Port(args) => port::port(context, args).await,
        Verb::Events(args) => events::events(context, args).await,
        Verb::Images(args) => images::images(context, args).await,
        Verb::Pull(args) => transfer::pull(context, args).await,
        Verb::Push(args) => transfer::push(context, args).await,
        Verb::Search(args) => search::search(context, args).await,
        Verb::Save(args) => save::save(context, args).await,
        Verb::History(args) => history::history(context, args).await,
        Verb::Image(verb) => image::image(context, verb).await,
        Verb::Login(args) => login::login(context, args).await,
        Verb::Load(args) => load::load(context, args).await,
        Verb::Import(args) => import::import(context, args).await,
        Verb::Rmi(args) => rmi::remove(context, args).await,
        Verb::Tag(args) => rmi::tag(context, args).await,
        Verb::Network(verb) => network::network(context, verb).await,
        Verb::Machine(verb) => machine::machine(context, verb).await,
        Verb::Info(args) => info::info(context, args).await,
        Verb::Version(args) => version::version(context, args).await,
        Verb::Daemon(_)
        | Verb::Vmm(_)
        | Verb::Devices
        | Verb::Completion(_)
        | Verb::Env(_)
        | Verb::Logout(_)
        | Verb::Doctor(_) => {
            unreachable!("dispatch has handled every verb without a client")
        }
    }
}
