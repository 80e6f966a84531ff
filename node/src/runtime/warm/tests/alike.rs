//! Tasks give the same in a container that stays as in one that the engine makes for each.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::*;

/// So many scripts are compared, each of several statements.
const SCRIPTS: usize = 12;

fn statement() -> impl Strategy<Value = String> {
    let word = "[a-z]{1,8}";
    prop_oneof![
        word.prop_map(|word| format!("echo {word}")),
        word.prop_map(|word| format!("echo {word} >&2")),
        (word, word).prop_map(|(name, text)| format!("echo {text} > $RESULTS/{name}")),
        (word, word).prop_map(|(name, text)| format!(
            "b mkdir -p $RESULTS/d; echo {text} > $RESULTS/d/{name}"
        )),
        (word, word).prop_map(|(name, text)| format!("echo {text} > /tmp/{name}; b ls -A /tmp")),
        (word, word).prop_map(|(name, text)| format!(
            "export {name}={text}; b env | b grep -v HOSTNAME | b sort"
        )),
        Just("b env | b grep -v HOSTNAME | b sort".to_owned()),
        Just("b cat $INPUTS/data | b wc -l; b ls -l $INPUTS | b wc -l".to_owned()),
        Just("b pwd; b id; umask; ulimit -a".to_owned()),
        Just("b ls -A / /test /dev/shm /dev/mqueue $RESULTS | b grep -v fanfold".to_owned()),
        Just(
            "b grep -E '^(Cap|NoNew|Seccomp|Sig(Blk|Ign|Cgt)|Groups)' /proc/self/status".to_owned()
        ),
        Just("b stat -c '%a %u %F' $RESULTS $INPUTS /tmp /dev/shm /dev/null".to_owned()),
        Just("b ls -l /proc/self/fd | b grep -c :".to_owned()),
        Just("b cat; b ls /no-such-folder".to_owned()),
        Just("(b sleep 0.01; echo behind) & wait".to_owned()),
        Just("b false || b true && echo and".to_owned()),
    ]
}

fn script() -> impl Strategy<Value = String> {
    let end = prop_oneof![
        4 => Just("exit 0".to_owned()),
        2 => (0u8..=255).prop_map(|code| format!("exit {code}")),
        1 => Just("b no-such-applet".to_owned()),
        1 => Just("b sh -c 'b=$$; kill -SEGV $b'".to_owned()),
    ];
    (proptest::collection::vec(statement(), 1..8), end).prop_map(|(mut statements, end)| {
        statements.push(end);
        statements.join("\n")
    })
}

impl Bench {
    /// The same as [`Bench::script`], in a container that the engine makes and starts for it.
    async fn apart(&self, script: &str) -> Ran {
        let places = self.places(&work());
        let script = format!("{PRELUDE}{script}");
        let command = ["/test/package/busybox", "sh", "-c", &script];
        let launch = self.launch(&work(), &places, &command);
        let (engine, logs) = (&self.tools.engine, &self.tools.logs);
        let mut made = engine.make(&launch, &self.image).await.unwrap();
        let ended = engine.run(&mut made, &launch, &self.image, logs, || {}, &self.stop).await;
        engine.remove(&made).await;
        Ran { ended, text: self.text(), results: files(&places.results) }
    }
}

/// Between the two streams there is no order.
fn lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[tokio::test]
async fn task_gives_the_same_in_a_warm_container_as_in_its_own() {
    let Some(bench) = Bench::new().await else { return };
    let mut runner = TestRunner::deterministic();
    for _ in 0..SCRIPTS {
        let script = script().new_tree(&mut runner).unwrap().current();

        let (apart, warm) = (bench.apart(&script).await, bench.script(&script).await);

        assert_eq!(warm.ending(), apart.ending(), "{script}");
        assert_eq!(lines(&warm.text), lines(&apart.text), "{script}");
        assert_eq!(warm.results, apart.results, "{script}");
    }
    assert_eq!(bench.waiting().len(), 1);
    bench.end().await;
}
