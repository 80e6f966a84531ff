//! A page of the book as the steps that its reader takes.
//!
//! Blocks of `sh` are commands. Blocks of `console` are commands behind `$ `, each with lines that
//! it shows. Comments say what a reader knows from the text: `<!-- follows: PAGE … -->` (a page
//! begins where others have ended), `<!-- terminal: TEXT -->` (the next command stays in a terminal
//! of its own, where this text appears), `<!-- Ctrl-C -->` (the newest of these is ended) and
//! `<!-- not run: REASON -->` (the next block is only checked for its syntax).

use anyhow::{Context as _, Result, bail, ensure};

/// What a reader does, and the line at which the page says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub line: usize,
    pub action: Action,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Runs commands; lines like these appear, in this order.
    Run { commands: String, shown: Vec<String> },
    /// Runs a command in a terminal of its own, until this text appears.
    Start { command: String, until: String },
    /// Ends the newest of them.
    Stop,
    /// Reads commands that cannot be run here.
    Read { commands: String },
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The pages before it, as it names them.
    pub follows: Vec<String>,
    pub steps: Vec<Step>,
}

/// A fenced block: its language, its lines, and the line before its first.
struct Block<'a> {
    language: &'a str,
    lines: Vec<&'a str>,
    start: usize,
}

/// What a comment says of the block after it.
enum Mark<'a> {
    Terminal(&'a str),
    NotRun,
}

impl Page {
    pub fn read(text: &str) -> Result<Self> {
        let mut page = Self::default();
        let (mut mark, mut open) = (None, None::<(Block<'_>, usize)>);
        for (index, line) in text.lines().enumerate() {
            let trimmed = line.trim_start();
            if let Some((mut block, indent)) = open.take() {
                if trimmed.trim_end() == "```" {
                    page.add(&block, mark.take())?;
                } else {
                    block.lines.push(line.get(indent..).unwrap_or(trimmed));
                    open = Some((block, indent));
                }
            } else if let Some(language) = trimmed.strip_prefix("```") {
                let block =
                    Block { language: language.trim(), lines: Vec::new(), start: index + 1 };
                open = Some((block, line.len() - trimmed.len()));
            } else if let Some(comment) = comment(trimmed) {
                page.heed(comment, index + 1, &mut mark)
                    .with_context(|| format!("line {}: {comment}", index + 1))?;
            } else if !trimmed.is_empty() {
                ensure!(mark.is_none(), "line {}: a block must follow the comment", index + 1);
            }
        }
        ensure!(open.is_none() && mark.is_none(), "a block is not ended");
        Ok(page)
    }

    fn heed<'a>(&mut self, said: &'a str, line: usize, mark: &mut Option<Mark<'a>>) -> Result<()> {
        let (name, value) = said.split_once(':').unwrap_or((said, ""));
        match (name.trim(), value.trim()) {
            ("follows", pages) if !pages.is_empty() => {
                self.follows = pages.split_whitespace().map(str::to_owned).collect();
            }
            ("terminal", until) if !until.is_empty() => *mark = Some(Mark::Terminal(until)),
            ("not run", reason) if !reason.is_empty() => *mark = Some(Mark::NotRun),
            ("Ctrl-C", "") => self.steps.push(Step { line, action: Action::Stop }),
            ("follows" | "terminal" | "not run" | "Ctrl-C", _) => {
                bail!("it says too much or too little")
            }
            // Of other tools.
            _ => {}
        }
        Ok(())
    }

    fn add(&mut self, block: &Block<'_>, mark: Option<Mark<'_>>) -> Result<()> {
        let Block { language, lines, start } = block;
        let commands = lines.join("\n");
        let step = |action| Step { line: start + 1, action };
        match (*language, mark) {
            ("sh", None) => {
                self.steps.push(step(Action::Run { commands, shown: Vec::new() }));
            }
            ("sh", Some(Mark::Terminal(until))) => {
                ensure!(
                    lines.len() == 1 && !commands.contains('#'),
                    "line {start}: a terminal has one command, without a comment"
                );
                self.steps.push(step(Action::Start { command: commands, until: until.to_owned() }));
            }
            ("sh", Some(Mark::NotRun)) => self.steps.push(step(Action::Read { commands })),
            ("console", None) => self.steps.extend(session(lines, *start)?),
            (_, Some(_)) => bail!("line {start}: only a block of sh has such a comment"),
            (_, None) => {}
        }
        Ok(())
    }
}

/// The commands of a `console` block: a line that begins with `> ` goes on with its command.
fn session(lines: &[&str], start: usize) -> Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    for (line, text) in (start + 1..).zip(lines) {
        if let Some(command) = text.strip_prefix("$ ") {
            let action = Action::Run { commands: command.to_owned(), shown: Vec::new() };
            steps.push(Step { line, action });
            continue;
        }
        let last = steps.last_mut().map(|step| &mut step.action);
        let Some(Action::Run { commands, shown }) = last else {
            bail!("line {line}: a console begins with `$ ` and a command");
        };
        match text.strip_prefix("> ") {
            Some(more) => *commands = format!("{commands}\n{more}"),
            None => shown.push((*text).to_owned()),
        }
    }
    Ok(steps)
}

/// The text of a comment that is a line of its own.
fn comment(line: &str) -> Option<&str> {
    Some(line.strip_prefix("<!--")?.trim_end().strip_suffix("-->")?.trim())
}

#[test]
fn page_is_read_as_the_steps_of_its_reader() {
    let text = "<!-- follows: a.md -->\n# T\n<!-- terminal: is ready -->\n```sh\nup\n```\n\n\
                ```console\n$ one \\\n> two\n1 line\n$ three\n```\n<!-- Ctrl-C -->\n\n\
                <!-- not run: takes hours -->\n  ```sh\n  four\n  ```\n```toml\na = 1\n```\n";
    let run = |commands: &str, shown: &[&str]| Action::Run {
        commands: commands.to_owned(),
        shown: shown.iter().map(|line| (*line).to_owned()).collect(),
    };

    let page = Page::read(text).unwrap();

    let steps = [
        (5, Action::Start { command: "up".to_owned(), until: "is ready".to_owned() }),
        (9, run("one \\\ntwo", &["1 line"])),
        (12, run("three", &[])),
        (14, Action::Stop),
        (18, Action::Read { commands: "four".to_owned() }),
    ];
    let steps = steps.map(|(line, action)| Step { line, action }).to_vec();
    assert_eq!(page, Page { follows: vec!["a.md".to_owned()], steps });
}

#[test]
fn page_with_a_mistake_is_refused() {
    for text in [
        "```sh\nx\n",
        "<!-- not run: -->\n```sh\nx\n```\n",
        "<!-- terminal: x -->\ntext\n",
        "<!-- terminal: x -->\n```sh\nup # why\n```\n",
        "<!-- not run: x -->\n```toml\nx\n```\n",
        "<!-- Ctrl-C: now -->\n",
        "```console\nx\n```\n",
    ] {
        assert!(Page::read(text).is_err(), "{text}");
    }
}
