//! A reader who types all commands of a page, and of the pages that it follows, into one shell.
//!
//! The folder is an empty one with the repository's `scripts` and `templates` in it. Addresses of
//! the pages are those of a loopback network of this reader's own, so that the ports in the text are
//! free; folders of the system are below the reader's own. `sudo` changes nothing, and `systemctl`
//! starts and stops the service in place of systemd.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use harness::machine::{process, python};
use harness::market::remove_traces;

use super::page::{Action, Page, Step};
use super::shown;

/// A page takes seconds, and other tests may keep the machine busy.
const PAGE_MAX: Duration = Duration::from_secs(240);
/// Where the pages' readers work, as their outputs show it.
const FOLDER_SHOWN: &str = "/home/ada/fanfold";
/// Folders of the system that pages name.
const SYSTEM: [&str; 3] = ["/var/lib/fanfold", "/etc/fanfold", "/srv/backup"];
const PRELUDE: &str = include_str!("prelude.sh");

/// A step and the page that it is of.
type Numbered<'a> = (&'a str, &'a Step);

pub struct Reader {
    folder: TempDir,
    address: String,
    /// Texts of the pages, and what stands for them here.
    replaced: Vec<(String, String)>,
}

impl Reader {
    pub fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        for name in ["scripts", "templates"] {
            symlink(python::repository().join(name), folder.path().join(name))?;
        }
        let address = own_address(folder.path());
        let mut replaced = vec![
            ("127.0.0.1".to_owned(), address.clone()),
            ("0.0.0.0".to_owned(), address.clone()),
        ];
        let here = folder.path().display();
        replaced.extend(SYSTEM.iter().map(|place| ((*place).to_owned(), format!("{here}{place}"))));
        Ok(Self { folder, address, replaced })
    }

    /// An address of this reader's own, which is 127.0.0.1 in the pages.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Lets a text stand in place of one of the pages, before all others.
    pub fn replace(&mut self, text: &str, by: &str) {
        self.replaced.insert(0, (text.to_owned(), by.to_owned()));
    }

    /// Follows the last of these pages after the others, and compares what it shows.
    pub async fn follow(&self, pages: &[(String, Page)]) -> Result<()> {
        let steps: Vec<Numbered<'_>> = pages
            .iter()
            .flat_map(|(name, page)| page.steps.iter().map(move |step| (name.as_str(), step)))
            .collect();
        let script = self.script(&steps);
        let path = self.folder.path().join("page.sh");
        fs::write(&path, &script)?;
        fs::create_dir(self.outputs())?;

        let ended = self.run(&path).await;

        for folder in self.node_folders() {
            remove_traces(&folder);
        }
        ended.map_err(|error| error.context(self.last(&steps)))?;
        self.compare(&steps)
    }

    async fn run(&self, script: &Path) -> Result<()> {
        let binary = process::fanfold()?;
        let folder = binary.parent().context("a folder")?.display();
        let listen = &self.address;
        let mut shell = Command::new("setsid");
        shell
            .arg("bash")
            .arg(script)
            .current_dir(self.folder.path())
            .env("PATH", format!("{folder}:{}", std::env::var("PATH")?))
            .env("HOME", self.folder.path())
            .env("OUT", self.outputs())
            .env("FANFOLD_HTTP_LISTEN", format!("{listen}:8700"))
            .env("FANFOLD_P2P_LISTEN", format!("/ip4/{listen}/tcp/8701"))
            .env("FANFOLD_NODE_RUNTIME_DIR", self.folder.path().join("runtime"))
            // However full the machine that tests run on is.
            .env("FANFOLD_NODE_DISK", "20")
            .env("FANFOLD_NODE_KEEP_FREE", "0.5")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let mut shell = shell.spawn().context("setsid bash")?;
        let session = shell.id().context("a process")?.to_string();
        match timeout(PAGE_MAX, shell.wait()).await {
            Ok(status) => ensure!(status?.success(), "a command failed"),
            Err(_) => {
                // The shell began a session, and all that it started is in it.
                let _ = Command::new("pkill").args(["-KILL", "-s", &session]).status().await;
                bail!("a command does not end within {PAGE_MAX:?}");
            }
        }
        Ok(())
    }

    /// All steps as one script. What each writes goes to a file of its number.
    fn script(&self, steps: &[Numbered<'_>]) -> String {
        let mut script = PRELUDE.to_owned();
        for (number, (_, step)) in steps.iter().enumerate() {
            script.push_str(&format!("step {number}\n"));
            script.push_str(&match &step.action {
                Action::Run { commands, .. } => format!("{}\n", self.here(commands)),
                Action::Start { command, until } => {
                    let until = shell_word(&self.here(until));
                    format!("{} &\nstarted {until} {number}\n", self.here(command.trim_end()))
                }
                Action::Stop => "press_ctrl_c\n".to_owned(),
                Action::Read { commands } => format!("bash -n <<'UNREAD'\n{commands}\nUNREAD\n"),
            });
        }
        script
    }

    /// A text of the pages as it is here.
    fn here(&self, text: &str) -> String {
        let (mut here, mut rest) = (String::new(), text);
        while let Some(first) = rest.chars().next() {
            let known = self.replaced.iter().find(|(from, _)| rest.starts_with(from.as_str()));
            if let Some((from, to)) = known {
                here.push_str(to);
                rest = &rest[from.len()..];
            } else {
                here.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
        here
    }

    fn compare(&self, steps: &[Numbered<'_>]) -> Result<()> {
        for (number, (page, Step { line, action })) in steps.iter().enumerate() {
            if let Action::Run { commands, shown } = action {
                let output = self.output(number);
                if let Some(missing) = shown::missing(shown, &output) {
                    bail!(
                        "{page}, line {line}: `{commands}` does not show\n{missing}\nbut\n{output}"
                    );
                }
            }
        }
        Ok(())
    }

    /// What a step wrote, as its page would show it.
    fn output(&self, number: usize) -> String {
        let output = fs::read(self.outputs().join(number.to_string())).unwrap_or_default();
        let output = String::from_utf8_lossy(&output);
        let here = self.folder.path().display().to_string();
        let output = SYSTEM.iter().fold(output.into_owned(), |output, place| {
            output.replace(&format!("{here}{place}"), place)
        });
        output.replace(&here, FOLDER_SHOWN).replace(&self.address, "127.0.0.1")
    }

    /// Which step was the last, and what it and the terminals wrote.
    fn last(&self, steps: &[Numbered<'_>]) -> String {
        let number = fs::read_to_string(self.outputs().join("step")).unwrap_or_default();
        let number: usize = number.trim().parse().unwrap_or_default();
        let mut told = String::new();
        for (other, (page, step)) in steps.iter().enumerate().take(number + 1) {
            let Step { line, action } = step;
            if other == number || matches!(action, Action::Start { .. }) {
                let wrote = process::tail(&self.outputs().join(other.to_string()));
                told.push_str(&format!("{page}, line {line}: {action:?}\n{wrote}\n"));
            }
        }
        told
    }

    fn outputs(&self) -> PathBuf {
        self.folder.path().join("outputs")
    }

    /// The folders of all nodes: those that have a key.
    fn node_folders(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut open = vec![self.folder.path().to_owned()];
        while let Some(folder) = open.pop() {
            if folder.join("node.key").is_file() {
                found.push(folder);
                continue;
            }
            let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
            let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            open.extend(folders.map(|entry| entry.path()));
        }
        found
    }
}

/// An address of the loopback network that follows from the folder's random name, so that no other
/// test has the same.
fn own_address(folder: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    folder.hash(&mut hasher);
    let [high, middle, low, ..] = hasher.finish().to_be_bytes();
    // Not 127.0.0.x, and not the first or the last of a network.
    format!("127.{}.{middle}.{}", 64 + high % 128, 1 + low % 254)
}

fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
