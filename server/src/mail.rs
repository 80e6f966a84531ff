//! Letters to people: one-time codes and invitations, by SMTP.
//!
//! Letters wait in a short queue, so that no answer waits for a mail server, or tells by its delay
//! whether a letter was sent. A server without SMTP writes the codes to its log, for its owner.

pub mod email;

use std::time::Duration;

use futures::StreamExt as _;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::config::{MailConfig, MailTls};
use crate::store::people::one_time_codes::Issued;

/// Letters that wait; what comes on top is given up.
const QUEUE_MAX: usize = 256;
const SENT_AT_ONCE: usize = 4;
const SEND_TIMEOUT: Duration = Duration::from_secs(20);
const TRIES_MAX: u32 = 3;
const TRY_AGAIN: Duration = Duration::from_secs(1);

type Transport = AsyncSmtpTransport<Tokio1Executor>;

/// Sends letters; clones share the queue.
#[derive(Clone)]
pub struct Mail {
    /// Where there is none, codes go to the log.
    letters: Option<mpsc::Sender<Letter>>,
    /// Where people sign in.
    url: String,
}

struct Letter {
    to: String,
    subject: &'static str,
    text: String,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("mail.from: must be an address such as \"Fanfold <no-reply@example.com>\"")]
    From(#[source] lettre::address::AddressError),
    #[error("mail.host: the mail server cannot be used")]
    Host(#[source] lettre::transport::smtp::Error),
}

impl Mail {
    /// Writes codes to the log and sends nothing.
    pub fn to_log() -> Self {
        Self { letters: None, url: String::new() }
    }

    /// Whether letters are sent, and not written to the log.
    pub fn sends(&self) -> bool {
        self.letters.is_some()
    }

    /// The sender, and what sends until `stop`.
    pub fn start(
        config: &MailConfig,
        url: String,
        stop: CancellationToken,
    ) -> Result<(Self, impl Future<Output = ()> + Send + use<>), Error> {
        let from: Mailbox = config.from.parse().map_err(Error::From)?;
        let transport = transport(config).map_err(Error::Host)?;
        let (letters, queue) = mpsc::channel(QUEUE_MAX);
        let sending = async move {
            let all = ReceiverStream::new(queue).for_each_concurrent(SENT_AT_ONCE, |letter| {
                let (transport, from) = (transport.clone(), from.clone());
                async move { send(&transport, &from, letter).await }
            });
            stop.run_until_cancelled(all).await;
        };
        Ok((Self { letters: Some(letters), url }, sending))
    }

    /// Sends a code to the address that it was issued for.
    pub fn code(&self, email: &str, issued: &Issued) {
        if self.letters.is_none() {
            // Who has asked knows the nonce; the address is nobody else's business.
            tracing::info!(nonce = issued.nonce, code = issued.code, "one-time code to sign in");
            return;
        }
        let text = format!(
            "Your one-time code for Fanfold is\n\n    {}\n\nIt works once, until {} UTC. If you have \
             not asked for it, nothing has happened, and you need not do anything.\n",
            issued.code,
            issued.expires_at.format("%H:%M")
        );
        self.put(Letter { to: email.to_owned(), subject: "Your code for Fanfold", text });
    }

    /// Tells an address that it may come.
    pub fn invitation(&self, email: &str, workspace: &str) {
        let text = format!(
            "You are invited into the workspace {workspace:?} of Fanfold at {}. Sign in there with \
             this address, and you are a member. If this tells you nothing, do nothing.\n",
            self.url
        );
        self.put(Letter { to: email.to_owned(), subject: "An invitation to Fanfold", text });
    }

    fn put(&self, letter: Letter) {
        let Some(letters) = &self.letters else { return };
        if letters.try_send(letter).is_err() {
            tracing::warn!("too many letters wait for the mail server: one was given up");
        }
    }
}

fn transport(config: &MailConfig) -> Result<Transport, lettre::transport::smtp::Error> {
    let builder = match config.tls {
        MailTls::Implicit => Transport::relay(&config.host)?,
        MailTls::Starttls => Transport::starttls_relay(&config.host)?,
        MailTls::None => Transport::builder_dangerous(&config.host),
    };
    let builder = match config.port {
        None => builder,
        Some(port) => builder.port(port),
    };
    let builder = if config.user.is_empty() {
        builder
    } else {
        builder.credentials(Credentials::new(config.user.clone(), config.password.0.clone()))
    };
    Ok(builder.timeout(Some(SEND_TIMEOUT)).build())
}

async fn send(transport: &Transport, from: &Mailbox, letter: Letter) {
    // Read as an address alone: with a name beside it the letter would go elsewhere.
    let message = letter.to.parse::<Address>().ok().and_then(|to| {
        let to = Mailbox::new(None, to);
        let message = Message::builder().from(from.clone()).to(to).subject(letter.subject);
        message.body(letter.text).ok()
    });
    let Some(message) = message else {
        tracing::warn!("a letter has an address that no mail server would take");
        return;
    };
    for tries in 1..=TRIES_MAX {
        let Err(error) = transport.send(message.clone()).await else {
            tracing::debug!("a letter was handed to the mail server");
            return;
        };
        // What the mail server says may quote the address: its number must do.
        let status = error.status().map(|code| code.to_string());
        let (timeout, tls) = (error.is_timeout(), error.is_tls());
        tracing::warn!(tries, status, timeout, tls, "the mail server did not take a letter");
        if error.is_permanent() || tries == TRIES_MAX {
            return;
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

#[cfg(test)]
pub mod testing {
    //! A mail server that takes every letter and keeps it.

    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::config::Hidden;

    pub struct Post {
        pub config: MailConfig,
        letters: mpsc::Receiver<String>,
    }

    impl Post {
        /// Refuses this many letters for now before it takes one.
        pub async fn open(refusals: usize) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let (kept, letters) = mpsc::channel(16);
            tokio::spawn(async move {
                for refused in 0.. {
                    let (stream, _) = listener.accept().await.unwrap();
                    converse(stream, refused < refusals, &kept).await;
                }
            });
            let config = MailConfig {
                host: "127.0.0.1".to_owned(),
                port: Some(port),
                tls: MailTls::None,
                user: "us".to_owned(),
                password: Hidden("hush".to_owned()),
                from: "Fanfold <no-reply@example.com>".to_owned(),
            };
            Self { config, letters }
        }

        /// The next letter: the envelope's lines, then the message.
        pub async fn letter(&mut self) -> String {
            self.letters.recv().await.unwrap()
        }
    }

    async fn converse(stream: TcpStream, refuse: bool, kept: &mpsc::Sender<String>) {
        let (reader, mut writer) = stream.into_split();
        let mut lines = BufReader::new(reader).lines();
        let mut letter = String::new();
        writer.write_all(b"220 post\r\n").await.unwrap();
        while let Ok(Some(line)) = lines.next_line().await {
            letter.push_str(&line);
            letter.push('\n');
            let answer = match line.split([' ', ':']).next().unwrap() {
                "EHLO" => "250-post\r\n250 AUTH PLAIN\r\n",
                "AUTH" => "235 welcome\r\n",
                "RCPT" if refuse => "451 not now, ada@example.com\r\n",
                "DATA" => {
                    writer.write_all(b"354 go on\r\n").await.unwrap();
                    while let Ok(Some(line)) = lines.next_line().await {
                        if line == "." {
                            break;
                        }
                        letter.push_str(&line);
                        letter.push('\n');
                    }
                    kept.send(std::mem::take(&mut letter)).await.unwrap();
                    "250 kept\r\n"
                }
                "QUIT" => "221 bye\r\n",
                _ => "250 fine\r\n",
            };
            if writer.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Post;
    use super::*;
    use crate::clock;

    fn issued() -> Issued {
        Issued {
            nonce: "n".to_owned(),
            code: "123456".to_owned(),
            sent_at: clock::now(),
            expires_at: clock::now(),
        }
    }

    #[tokio::test]
    async fn code_is_sent_to_its_address_only() {
        let mut post = Post::open(0).await;
        let stop = CancellationToken::new();
        let (mail, sending) = Mail::start(&post.config, String::new(), stop).unwrap();
        tokio::spawn(sending);

        mail.code("no address at all", &issued());
        mail.code("x<victim@example.com>", &issued());
        mail.code("ada@example.com", &issued());

        let letter = post.letter().await;
        for part in ["RCPT TO:<ada@example.com>", "FROM:<no-reply@example.com>", "123456", "AUTH"] {
            assert!(letter.contains(part), "{part}: {letter}");
        }
    }

    #[tokio::test]
    async fn email_that_is_temporarily_refused_is_sent_again() {
        let mut post = Post::open(1).await;
        let stop = CancellationToken::new();
        let (mail, sending) = Mail::start(&post.config, "https://f".to_owned(), stop).unwrap();
        tokio::spawn(sending);

        mail.invitation("ada@example.com", "lab");

        assert!(post.letter().await.contains("https://f"));
    }

    #[tokio::test]
    async fn wrong_sender_is_named() {
        let mut config = Post::open(0).await.config;
        config.from = "nobody".to_owned();

        let refused = Mail::start(&config, String::new(), CancellationToken::new());

        assert!(refused.is_err_and(|error| error.to_string().contains("mail.from")));
    }
}
