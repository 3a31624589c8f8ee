//! Finds out whether KVM here runs a stock kernel, by running a guest that does what one does.
//!
//! That `/dev/kvm` opens proves nothing: a KVM in software may run real-mode code at speed and
//! stop at the first XRSTOR. So a guest of some fifty instructions must get to its end in time.
//!
//! - [`guest`] – those instructions
//! - [`machine`] – the machine around them

mod guest;
mod machine;
mod unusable;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use kvm_ioctls::{Cap, Kvm, VcpuExit};

use crate::kick::{self, Kick};
use guest::{Deed, PROGRESS_PORT};
use machine::Machine;

pub use machine::ProbeError;
pub use unusable::{NoPermission, Unusable};

/// The only version that Linux has had since 2007.
const API_VERSION: i32 = 12;
/// What a machine needs of KVM, and its name in KVM's documentation.
const CAPABILITIES: [(Cap, &str); 9] = [
    (Cap::UserMemory, "KVM_CAP_USER_MEMORY"),
    (Cap::SetTssAddr, "KVM_CAP_SET_TSS_ADDR"),
    (Cap::ExtCpuid, "KVM_CAP_EXT_CPUID"),
    (Cap::MpState, "KVM_CAP_MP_STATE"),
    (Cap::Irqchip, "KVM_CAP_IRQCHIP"),
    (Cap::Pit2, "KVM_CAP_PIT2"),
    (Cap::Irqfd, "KVM_CAP_IRQFD"),
    (Cap::Ioeventfd, "KVM_CAP_IOEVENTFD"),
    (Cap::ImmediateExit, "KVM_CAP_IMMEDIATE_EXIT"),
];
/// Exits that the guest may cause: one a deed, and some that KVM adds by itself.
const MAX_EXITS: usize = 64;
/// How long a guest that was told to leave may take to do so.
const LEAVE_LIMIT: Duration = Duration::from_millis(20);
/// How long the machine around the guest may take to make: 10 ms on hardware, but the first one
/// after a boot switches virtualisation on everywhere, which took 380 ms on a busy emulated host.
const SETUP_LIMIT: Duration = Duration::from_secs(3);

/// What was found out about a KVM that works.
#[derive(Clone, Copy, Debug)]
pub struct KvmFacts {
    /// Most vCPUs of a machine that KVM recommends.
    pub recommended_vcpus: usize,
    /// How long it took to find out.
    pub elapsed: Duration,
}

/// What the probing thread and its watchdog share.
#[derive(Debug, Default)]
struct Shared {
    /// How to make the guest leave, while there is a vCPU.
    kick: Option<Kick>,
    /// The last thing that worked.
    last: Option<Deed>,
    /// Time is up.
    expired: bool,
}

/// What the probing thread says to the one that waits.
enum News {
    /// The guest starts now.
    Entering,
    /// This is what was found out.
    Found(Result<usize, Unusable>),
}

/// Finds out whether this host's KVM runs a stock kernel; its guest has `budget` to show that.
///
/// # Errors
/// [`Unusable`] says why not and what to do about it.
pub fn probe(budget: Duration) -> Result<KvmFacts, Unusable> {
    let started = Instant::now();
    kick::prepare().map_err(Unusable::Signal)?;
    let shared = Arc::new(Mutex::new(Shared::default()));
    let (sender, news) = mpsc::channel();
    // Not joined: taking the machine down takes as long as making it, and a guest that cannot be
    // made to leave keeps its thread.
    let _detached = {
        let shared = Arc::clone(&shared);
        thread::Builder::new()
            .name("kvm-probe".into())
            .spawn(move || run(&shared, &sender))
            .map_err(Unusable::Thread)?
    };
    let mut limit = SETUP_LIMIT;
    let recommended_vcpus = loop {
        match news.recv_timeout(limit) {
            Ok(News::Entering) => limit = budget.saturating_sub(LEAVE_LIMIT),
            Ok(News::Found(found)) => break found?,
            Err(_late) => return Err(expire(&shared, &news, budget)),
        }
    };
    Ok(KvmFacts {
        recommended_vcpus,
        elapsed: started.elapsed(),
    })
}

fn expire(shared: &Mutex<Shared>, news: &mpsc::Receiver<News>, budget: Duration) -> Unusable {
    let last = {
        let mut shared = lock(shared);
        shared.expired = true;
        if let Some(kick) = &shared.kick {
            kick.leave();
        }
        shared.last
    };
    let _left = news.recv_timeout(LEAVE_LIMIT);
    Unusable::TimedOut {
        budget,
        what: next(last).name(),
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first deed that has not been done.
fn next(last: Option<Deed>) -> Deed {
    let done = last.map_or(0, |deed| deed as usize);
    Deed::ALL.get(done).copied().unwrap_or(Deed::SystemCall)
}

fn run(shared: &Mutex<Shared>, sender: &mpsc::Sender<News>) {
    let mut machine = match make() {
        Ok(machine) => machine,
        Err(unusable) => {
            let _late = sender.send(News::Found(Err(unusable)));
            return;
        }
    };
    {
        let mut shared = lock(shared);
        // SAFETY: the kick is taken away below, before the vCPU goes.
        let kick = unsafe { Kick::new(&mut machine.vcpu) };
        kick.arm();
        if shared.expired {
            kick.leave();
        }
        shared.kick = Some(kick);
    }
    // Nobody listens any more where this took too long.
    let _late = sender.send(News::Entering);
    let found = run_guest(&mut machine, shared).map(|()| machine.recommended_vcpus);
    let _late = sender.send(News::Found(found));
    lock(shared).kick = None;
}

fn make() -> Result<Machine, Unusable> {
    let kvm = Kvm::new().map_err(unusable::explain_open)?;
    let version = kvm.get_api_version();
    if version != API_VERSION {
        return Err(Unusable::TooOld {
            what: format!("its interface has version {version}, not {API_VERSION}"),
        });
    }
    if let Some((_, name)) = CAPABILITIES
        .into_iter()
        .find(|(cap, _)| !kvm.check_extension(*cap))
    {
        return Err(Unusable::TooOld {
            what: format!("it has no {name}"),
        });
    }
    Machine::new(&kvm).map_err(Unusable::Machine)
}

fn run_guest(machine: &mut Machine, shared: &Mutex<Shared>) -> Result<(), Unusable> {
    let mut last = None;
    for _ in 0..MAX_EXITS {
        let what = next(last).name();
        let why = match machine.vcpu.run() {
            Ok(VcpuExit::IoOut(PROGRESS_PORT, &[number])) => {
                last = Deed::ALL.into_iter().find(|deed| *deed as u8 == number);
                lock(shared).last = last;
                if last == Some(Deed::SystemCall) {
                    return Ok(());
                }
                continue;
            }
            Ok(VcpuExit::IoOut(guest::WRONG_PORT, _)) => "the result was wrong".to_owned(),
            Ok(exit) => format!("KVM stopped it with {exit:?}"),
            Err(error) => format!("KVM stopped it: {error}"),
        };
        return Err(Unusable::CannotRunStockKernel { what, why });
    }
    Err(Unusable::CannotRunStockKernel {
        what: next(last).name(),
        why: "KVM stopped it over and over".to_owned(),
    })
}

#[cfg(test)]
mod tests;
