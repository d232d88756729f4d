//! What the kernel's verifier makes of the programs: its figures, and the limits that they keep.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use aya::programs::{Program, ProgramError, ProgramInfo};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Most that a program may have: what it has on Linux 6.18 and a quarter, so that who makes a change that costs much sees it. Other
/// kernels prune differently (on Linux 6.1 `line` has half a million and `error` two thirds of a million instructions to verify): that they load there is
/// seen there (`cargo xtask vm`).
struct Limits {
    program: &'static str,
    /// Instructions that the verifier walks, on all paths; the kernel's own limit is a million (`BPF_COMPLEXITY_LIMIT_INSNS`).
    walked: u32,
    /// States that it keeps at once.
    states: u32,
    /// Size in instructions, as the kernel rewrote it.
    size: u32,
}

/// Stack in bytes, which is the kernel's own limit (`MAX_BPF_STACK`).
const STACK: u32 = 512;

const LIMITS: [Limits; 6] = [
    Limits { program: "line", walked: 550_000, states: 2_500, size: 9_500 },
    Limits { program: "fabric", walked: 480_000, states: 2_400, size: 7_800 },
    Limits { program: "host", walked: 100_000, states: 650, size: 2_800 },
    Limits { program: "error", walked: 285_000, states: 2_400, size: 7_500 },
    Limits { program: "lost_redirect", walked: 140, states: 12, size: 80 },
    Limits { program: "lost_transmit", walked: 190, states: 15, size: 130 },
];

/// The verifier's figures of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Name of the program.
    pub program: String,
    /// Instructions walked, on all paths.
    pub walked: u32,
    /// States kept at once.
    pub states: u32,
    /// Stack in bytes: its own, and that of the deepest function that it calls. None of ours calls another.
    pub stack: u32,
    /// Size in instructions, as the kernel rewrote it.
    pub size: u32,
}

/// Loads every program of an object, and drops it again. Takes root.
pub fn figures(object: &Path) -> anyhow::Result<Vec<Figures>> {
    if !nix::unistd::geteuid().is_root() {
        bail!("the verifier's figures come from loading the programs, which takes root: run this with sudo");
    }
    let bytes = fs::read(object).with_context(|| format!("cannot read {}", object.display()))?;
    let mut loader = EbpfLoader::new();
    let loader = loader.verifier_log_level(VerifierLogLevel::STATS);
    let mut object = loader.load(&bytes).with_context(|| format!("cannot load {}", object.display()))?;
    let mut names: Vec<String> = object.programs().map(|(name, _)| name.to_owned()).collect();
    names.sort_unstable();
    names.into_iter().map(|name| figures_of(&mut object, name)).collect()
}

fn figures_of(object: &mut Ebpf, name: String) -> anyhow::Result<Figures> {
    let program = object.program_mut(&name).context("no such program")?;
    let log = verifier_log(program).with_context(|| format!("program `{name}`"))?;
    let (walked, states, stack) = parse(&log)
        .with_context(|| format!("the verifier's log of program `{name}` has no figures: {log}"))?;
    let info = load(program).with_context(|| format!("cannot load program `{name}`"))?;
    let size = info.size_translated().context("the kernel does not tell the program's size")? / INSTRUCTION;
    Ok(Figures { program: name, walked, states, stack, size })
}

/// Bytes of an instruction.
const INSTRUCTION: u32 = 8;

fn load(program: &mut Program) -> Result<ProgramInfo, ProgramError> {
    match program {
        Program::Xdp(program) => program.load()?,
        Program::RawTracePoint(program) => program.load()?,
        // There are no others.
        _ => return Err(ProgramError::UnexpectedProgramType),
    }
    program.info()
}

/// What the verifier says of a program. aya hands that out only when loading fails: here it does so behind the verifier, since
/// this process may have no further descriptor, and the program would be one (`bpf_prog_new_fd`, kernel/bpf/syscall.c).
fn verifier_log(program: &mut Program) -> anyhow::Result<String> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, 0, hard)?;
    let loaded = load(program);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
    match loaded {
        Err(ProgramError::LoadError { io_error, verifier_log })
            if io_error.raw_os_error() == Some(libc::EMFILE) =>
        {
            Ok(verifier_log.to_string())
        }
        Err(error) => Err(error.into()),
        Ok(_) => bail!("it was loaded without a descriptor"),
    }
}

/// Instructions, states and stack, of the lines at the end of a log (`print_verification_stats`, kernel/bpf/verifier.c).
fn parse(log: &str) -> Option<(u32, u32, u32)> {
    let line = |start: &str| log.lines().find_map(|line| line.strip_prefix(start));
    let mut words = line("processed ")?.split(' ');
    let walked = words.next()?.parse().ok()?;
    let states = words.skip_while(|word| *word != "peak_states").nth(1)?.parse().ok()?;
    // `480+0+24`: the program, and its functions.
    let depths = line("stack depth ")?.split('+').map(|depth| depth.trim().parse().ok());
    let depths: Vec<u32> = depths.collect::<Option<_>>()?;
    let (own, functions) = depths.split_first()?;
    Some((walked, states, own + functions.iter().max().unwrap_or(&0)))
}

/// The figures as a table.
pub fn table(figures: &[Figures]) -> String {
    let row = |cells: [String; 5]| {
        let [program, walked, states, stack, size] = cells;
        format!("{program:<14}{walked:>22}{states:>13}{stack:>16}{size:>22}\n")
    };
    let head = ["program", "instructions verified", "peak states", "bytes of stack", "size (instructions)"];
    let rows = figures.iter().map(|Figures { program, walked, states, stack, size }| {
        row([program.clone(), walked.to_string(), states.to_string(), stack.to_string(), size.to_string()])
    });
    row(head.map(str::to_owned)) + &rows.collect::<String>()
}

/// What is over its limit, a sentence each.
pub fn excesses(figures: &[Figures]) -> Vec<String> {
    figures.iter().flat_map(excesses_of).collect()
}

fn excesses_of(figures: &Figures) -> Vec<String> {
    let Figures { program, walked, states, stack, size } = figures;
    let Some(limits) = LIMITS.iter().find(|limits| limits.program == program) else {
        return vec![format!(
            "program `{program}` has no limits: add them to LIMITS in tests/src/verifier.rs"
        )];
    };
    let checks = [
        ("instructions verified", *walked, limits.walked),
        ("peak states", *states, limits.states),
        ("bytes of stack", *stack, STACK),
        ("instructions", *size, limits.size),
    ];
    let over = checks.into_iter().filter(|(_, found, most)| found > most);
    over.map(|(what, found, most)| {
        format!(
            "program `{program}` has {found} {what}, and {most} are the limit: make it smaller, or raise LIMITS in \
             tests/src/verifier.rs and say in the change what it buys"
        )
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_at_the_end_of_a_log() {
        let log = "func#0 @0\nverification time 72371 usec\nstack depth 480+0+24\nprocessed 30123 insns (limit 1000000) \
                   max_states_per_insn 12 total_states 900 peak_states 800 mark_read 40\n";
        assert_eq!(parse(log), Some((30_123, 800, 504)));
        assert_eq!(parse("stack depth 8\n"), None);
    }

    #[test]
    fn what_is_over_a_limit_is_named() {
        let line = &LIMITS[0];
        let within = Figures {
            program: line.program.into(),
            walked: line.walked,
            states: line.states,
            stack: STACK,
            size: line.size,
        };
        assert!(excesses(std::slice::from_ref(&within)).is_empty());
        let over = Figures { walked: within.walked + 1, stack: STACK + 1, ..within.clone() };
        let said = excesses(&[over]);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[1].contains("513 bytes of stack, and 512 are the limit"), "{said:?}");
        let unknown = Figures { program: "new".into(), ..within };
        assert!(excesses(&[unknown])[0].contains("program `new` has no limits"));
    }
}
