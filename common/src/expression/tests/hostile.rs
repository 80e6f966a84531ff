use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::*;
use super::{fault, fixed, scope};

/// Hostile expressions. Debug builds are slow, so the bound is far above what is needed.
#[test]
fn hostile_expressions_end_at_once() {
    let deep =
        |open: &str, close: &str, n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
    let patterns = format!("repeat(\"a\", 100000) matches \"{}\"", "(a*)*".repeat(100) + "b");
    let expressions = [
        "len(map(1..10000000000, #))".to_owned(),
        "map(1..100000, map(1..100000, #))".to_owned(),
        "reduce(1..100000, #acc + #acc, \"aaaaaaaa\")".to_owned(),
        "repeat(\"a\", 100000000000)".to_owned(),
        "reduce(1..1000, repeat(#acc, 2), \"a\")".to_owned(),
        "reduce(1..100000, [#acc])".to_owned(),
        "toJSON(reduce(1..60, [#acc, #acc]))".to_owned(),
        "let x = reduce(1..50, [#acc, #acc]); let y = reduce(1..50, [#acc, #acc]); x == y"
            .to_owned(),
        "uniq(1..100000)".to_owned(),
        "sum(map(1..300000, 1)) + sum(map(1..300000, 1))".to_owned(),
        "replace(repeat(\"a\", 1000000), \"\", repeat(\"b\", 1000))".to_owned(),
        "split(repeat(\"a\", 1000000), \"\")".to_owned(),
        "map(1..100000, \"a\" matches string(#))".to_owned(),
        "9223372036854775807 + 1".to_owned(),
        "-(-9223372036854775807 - 1)".to_owned(),
        "(-9223372036854775807 - 1) % -1".to_owned(),
        "len(-9223372036854775807..9223372036854775807)".to_owned(),
        "date(\"9999-12-31\") + duration(\"2000000h\")".to_owned(),
        "date(\"+262142-12-31\", \"2006-01-02\")".to_owned(),
        "now().Format(repeat(\"%\", 100000))".to_owned(),
        "fromJSON(repeat(\"[\", 100000))".to_owned(),
        "\"a\" matches \"(\"".to_owned(),
        "\"a\" matches \"(a{1000}){1000}\"".to_owned(),
        patterns,
        "map(1..100000, len(repeat(\"a\", 1000000)))".to_owned(),
        "let x = repeat(\"a\", 1000000); map(1..100000, len(x))".to_owned(),
        "let x = repeat(\"a\", 1000000); map(1..100000, hasPrefix(x, x))".to_owned(),
        "let x = repeat(\"a\", 1000000); map(1..100000, x == x)".to_owned(),
        "repeat(\"a\", 60000) matches \"(a?){3000}b\"".to_owned(),
        "map(1..100, \"a\" matches \"(a?){2000}b\")".to_owned(),
    ];
    for expression in expressions {
        let start = Instant::now();
        fault(&expression);
        let took = start.elapsed();
        assert!(took < Duration::from_secs(5), "{expression:.60} took {took:?}");
    }
    for source in [
        deep("(", ")", 1_000),
        deep("[", "]", 1_000),
        deep("inputs[", "]", 1_000),
        deep("{\"a\":", "}", 1_000),
        deep("trim(", ")", 1_000),
        deep("map([1], ", ")", 500),
        deep("!", "", 5_000),
        deep("- ", "", 5_000),
        deep("if true {", "} else {1}", 500),
        deep("true ? ", ": 1", 1_000),
        deep("let x = 1;", "", 1_000),
        "1".to_owned() + &"+1".repeat(5_000),
        "1".to_owned() + &"**1".repeat(5_000),
        "inputs".to_owned() + &".a".repeat(5_000),
        "1".to_owned() + &" | string()".repeat(1_000),
        "1".to_owned() + &" ".repeat(EXPRESSION_BYTES_MAX),
    ] {
        let start = Instant::now();
        let problem = Template::new(&format!("{{{{ {source} }}}}")).unwrap_err().problem;
        let is_bounded = matches!(problem, Problem::TooDeep | Problem::LongExpression);
        assert!(is_bounded, "{source:.40}: {problem}");
        assert!(start.elapsed() < Duration::from_secs(2), "{source:.40}");
    }
}

proptest! {
    #[test]
    fn templates_of_noise_do_not_panic(source in "[a-c0-9{}()\\[\\]#.,:;?|+*/<>=!&\"' -]{0,60}") {
        if let Ok(template) = Template::new(&format!("{{{{ {source} }}}}")) {
            let _ = evaluate_text(&template, &scope(), &fixed());
            let again = Template::new(template.source()).unwrap();
            prop_assert_eq!(again, template);
        }
    }

    #[test]
    fn any_text_gives_the_same_bounded_text_or_fault_each_time(source in "\\PC{0,200}|(.|\n){0,80}") {
        for source in [source.clone(), format!("{{{{ {source} }}}}")] {
            let Ok(template) = Template::new(&source) else { continue };
            let given = evaluate_text(&template, &scope(), &fixed());
            if let Ok(text) = &given {
                prop_assert!(template.is_plain() || text.len() <= RESULT_BYTES_MAX);
            }
            prop_assert_eq!(given, evaluate_text(&template, &scope(), &fixed()));
        }
    }

    #[test]
    fn large_numbers_of_anything_stay_within_the_bounds(
        n in proptest::sample::select(vec![0i64, 1, 100, 65_536, 1_000_000, i64::MAX]),
        m in -3i64..2_000_000,
        shape in 0usize..7,
    ) {
        let source = match shape {
            0 => format!("{{{{ repeat(\"ab\", {n}) }}}}"),
            1 => format!("{{{{ map({m}..{n}, # * {m}) }}}}"),
            2 => format!("{{{{ reduce(1..{n}, #acc + \"x\", \"\") }}}}"),
            3 => format!("{{{{ {n} ** {m} + {n} * {m} - {n} % 7 }}}}"),
            4 => format!("{{{{ {m}..{n} }}}}"),
            5 => format!("{{{{ split(repeat(\"a,\", {m}), \",\") }}}}"),
            _ => format!("{{{{ {n} }}}}"),
        };
        let template = Template::new(&source).unwrap();
        if let Ok(text) = evaluate_text(&template, &scope(), &fixed()) {
            prop_assert!(text.len() <= RESULT_BYTES_MAX, "{source}");
        }
        if let Ok(items) = evaluate_items(&template, &scope(), &fixed()) {
            prop_assert!(items.len() <= ITEMS_MAX, "{source}");
        }
    }

    #[test]
    fn templates_of_words_do_not_panic(
        words in proptest::collection::vec(
            proptest::sample::select(vec![
                "1", "2.5", "\"a\"", "nil", "true", "inputs", ".n", "[", "]", "(", ")", "{", "}",
                "map(", "filter(", "sortBy(", "split(", "len(", "int(", "fromJSON(", "repeat(",
                "date(", "now()", ".Format(", "duration(", "reduce(", "sum(", "max(", "#", "#acc",
                ",", "+", "-", "*", "/", "%", "**", "..", "in", "not", "and", "?", ":", "??", "?.",
                "matches", "==", "<", "|", "let x =", ";", "x", "if", "else",
            ]),
            0..25,
        )
    ) {
        let source = format!("{{{{ {} }}}}", words.join(" "));
        if let Ok(template) = Template::new(&source) {
            let _ = evaluate_value(&template, &scope(), &fixed());
            let _ = evaluate_items(&template, &scope(), &fixed());
            let _ = (template.roots(), template.reads("inputs"));
        }
    }
}
