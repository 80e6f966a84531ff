use chrono::DateTime;
use serde_json::json;

use super::*;

mod hostile;

fn scope() -> Scope {
    let mut scope = Scope::default();
    scope.set("inputs", json!({"n": "7", "name": "anna", "list": "[1, \"b\"]"}));
    scope.set("tasks", json!({"template": "{{ secrets.key }}", "json": "{\"k\": 30000000}"}));
    scope.set("secrets", json!({"key": "hidden"}));
    scope.set("item", json!({"index": "3", "value": {"size": 5, "none": null}}));
    scope.set("notes", json!("x"));
    scope
}

fn fixed() -> Fixed {
    let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
    Fixed { now, seed: [7; 32] }
}

fn text(source: &str) -> Result<String, Fault> {
    evaluate_text(&Template::new(source).unwrap(), &scope(), &fixed())
}

fn print(expression: &str) -> String {
    text(&format!("{{{{ {expression} }}}}")).unwrap_or_else(|fault| panic!("{expression}: {fault}"))
}

fn fault(expression: &str) -> Fault {
    text(&format!("{{{{ {expression} }}}}")).expect_err(expression)
}

fn problem(source: &str) -> String {
    Template::new(source).expect_err(source).to_string()
}

/// What users of the language measured, and where we print otherwise: numbers without an exponent,
/// lists and maps as JSON, nothing as the empty text.
#[test]
fn expressions_give_what_users_measured() {
    for (expression, expected) in [
        ("1 + 1", "2"),
        ("10 / 4", "2.5"),
        ("4 / 2", "2"),
        ("1/0", "+Inf"),
        ("1.0", "1"),
        ("30000000.0", "30000000"),
        ("1e6", "1000000"),
        ("nil", ""),
        ("[1,2,3]", "[1,2,3]"),
        (r#"{"a": 1}"#, r#"{"a":1}"#),
        (r#"{"a": inputs.n, b: [1.5]}"#, r#"{"a":"7","b":[1.5]}"#),
        (r#"toJSON({"a":1})"#, "{\n  \"a\": 1\n}"),
        (r#"fromJSON("{\"k\": 3}").k"#, "3"),
        ("inputs.nope", ""),
        (r#"inputs.nope ?? "dflt""#, ""),
        (r#"inputs.nope == """#, "true"),
        (r#"item.value.nope ?? "dflt""#, "dflt"),
        (r#""5" > "10""#, "true"),
        ("int(inputs.n) + 1", "8"),
        ("sequence(1, 5)", "[1,2,3,4]"),
        ("sequence(5, 1)", "[]"),
        ("fromJSON(tasks.json).k", "30000000"),
        ("notes", "x"),
        ("true ? \"a\" : \"b\"", "a"),
        ("if 1 > 2 { \"a\" } else if true { \"b\" } else { \"c\" }", "b"),
    ] {
        assert_eq!(print(expression), expected, "{expression}");
    }
    let operands = |operator, left, right| Fault::Operands { operator, left, right };
    assert_eq!(fault(r#""1" == 1"#), operands("==", "text", "a whole number"));
    assert_eq!(fault("inputs.n + 1"), operands("+", "text", "a whole number"));
    assert_eq!(fault("nosuch"), Fault::UnknownName("nosuch".to_owned()));
}

#[test]
fn operators_bind_and_compute() {
    for (expression, expected) in [
        ("1 + 2 * 3 ** 2 - 7 % 4", "16"),
        ("-2 ** 2", "-4"),
        ("2 ** 3 ** 2", "512"),
        ("not true or true", "true"),
        ("not (true or true)", "false"),
        ("1 < 2 and \"a\" != \"b\"", "true"),
        ("1 == 1.0 and nil != 1 and [1, 2] == 1..2", "true"),
        ("3 in [1, 2, 3]", "true"),
        ("5 in 1..10 and 11 not in 1..10", "true"),
        ("\"n\" in inputs", "true"),
        ("\"abc\" contains \"b\" && \"abc\" startsWith \"a\" && \"abc\" endsWith \"c\"", "true"),
        ("\"a1\" matches \"^[a-z]\\\\d$\"", "true"),
        ("\"b\" not matches \"a\"", "true"),
        ("item.value?.none?.x.y ?? 1", "1"),
        ("[1, 2, 3, 4][1:3]", "[2,3]"),
        ("(1..9)[-2:]", "[8,9]"),
        ("[1, 2, 3][-1]", "3"),
        ("\"hello\"[1:3]", "el"),
        ("inputs[\"na\" + \"me\"]", "anna"),
        ("inputs.name | upper() | trimSuffix(\"A\")", "ANN"),
        ("let x = 2; let y = x + 1; map(1..2, # * x + y)", "[5,7]"),
        ("0x1F + 0b11 + 1_000", "1034"),
        ("'it\\'s' + `\\n`", "it's\\n"),
        ("false && unknown", "false"),
        ("1 /* two */ + 3 // four\n", "4"),
        ("{\"a\": {\"b\": {}}}", "{\"a\":{\"b\":{}}}"),
    ] {
        assert_eq!(print(expression), expected, "{expression}");
    }
}

#[test]
fn functions_give_what_their_names_say() {
    for (expression, expected) in [
        (
            "all(1..3, # > 0) and any([1], # > 0) and none([1], # > 1) and one([1, 2], # > 1)",
            "true",
        ),
        ("filter(1..6, {# % 2 == 0})", "[2,4,6]"),
        ("map([{\"size\": 2}, item.value], .size)", "[2,5]"),
        ("map([\"a\", \"b\"], # + string(#index))", "[\"a0\",\"b1\"]"),
        ("find(1..5, # > 2) + findIndex(1..5, # > 2) + findLast(1..5, # > 2)", "10"),
        ("count([true, false]) + count(1..9, # > 4) + sum(1..3) + sum([1], # * 2)", "14"),
        ("groupBy(1..4, # % 2)", "{\"0\":[2,4],\"1\":[1,3]}"),
        ("sortBy([{\"s\": 2}, {\"s\": 1}], .s, \"desc\")", "[{\"s\":2},{\"s\":1}]"),
        ("reduce(1..4, #acc + #) + reduce([1], #acc + #, 10)", "21"),
        ("len(\"äb\") + len([1]) + len({\"a\": 1}) + len(1..5)", "9"),
        (
            "[abs(-1), ceil(1.2), floor(1.8), round(1.5), int(\"4\"), int(4.9), float(\"1.5\")]",
            "[1,2,1,2,4,4,1.5]",
        ),
        (
            "[max(1, 5, 3), min([4, 2]), mean(1, 2), median([3, 1, 2]), median(1, 2)]",
            "[5,2,1.5,2,1.5]",
        ),
        (
            "[trim(\" a \"), trim(\"xax\", \"x\"), trimPrefix(\"ab\", \"a\"), upper(\"a\"), lower(\"B\")]",
            "[\"a\",\"a\",\"b\",\"A\",\"b\"]",
        ),
        ("split(\"a,b,c\", \",\", 2)", "[\"a\",\"b,c\"]"),
        ("splitAfter(\"a,b\", \",\")", "[\"a,\",\"b\"]"),
        ("split(\"ab\", \"\")", "[\"a\",\"b\"]"),
        (
            "replace(\"aaa\", \"a\", \"b\", 2) + repeat(\"x\", 3) + join([1, \"b\"], \"-\")",
            "bbaxxx1-b",
        ),
        (
            "[indexOf(\"abc\", \"c\"), lastIndexOf(\"aba\", \"a\"), indexOf(\"a\", \"b\")]",
            "[2,2,-1]",
        ),
        ("hasPrefix(\"ab\", \"a\") and hasSuffix(\"ab\", \"b\")", "true"),
        ("fromBase64(toBase64(\"hi\"))", "hi"),
        ("type(1) + type(nil) + type([]) + type(\"\")", "intnilarraystring"),
        ("[first([1, 2]), last([1, 2]), get({\"a\": 1}, \"b\"), get([1], 0)]", "[1,2,null,1]"),
        (
            "[take(1..5, 2), keys({\"a\": 1}), values({\"a\": 1}), reverse([1, 2])]",
            "[[1,2],[\"a\"],[1],[2,1]]",
        ),
        ("fromPairs(toPairs({\"a\": 1}))", "{\"a\":1}"),
        (
            "[uniq([1, 1, \"1\"]), concat([1], 2..3), flatten([1, [2, [3]]]), sort([2, 1])]",
            "[[1,\"1\"],[1,2,3],[1,2,3],[1,2]]",
        ),
        (
            "[bitand(6, 3), bitor(6, 3), bitxor(6, 3), bitnot(0), bitshl(1, 3), bitshr(8, 2)]",
            "[2,7,5,-1,8,2]",
        ),
        ("bitushr(-5, 2)", "4611686018427387902"),
        ("now().Year()", "2026"),
        ("now().Format(\"2006-01-02 15:04:05\")", "2026-09-21 14:13:20"),
        ("(date(\"2026-01-31\") + duration(\"36h\")).Format(\"Jan 02\")", "Feb 01"),
        ("duration(\"1h30m\") > duration(\"5m\")", "true"),
        ("date(\"2026-01-02\") - date(\"2026-01-01\")", "24h0m0s"),
        ("now().In(timezone(\"Europe/Berlin\")).Hour()", "16"),
    ] {
        assert_eq!(print(expression), expected, "{expression}");
    }
}

#[test]
fn values_are_never_evaluated() {
    assert_eq!(text("{{ tasks.template }}"), Ok("{{ secrets.key }}".to_owned()));
    let joined = text("{{ \"{{ secrets\" + \".key }}\" }}{{ tasks.template + \"\" }}");
    assert_eq!(joined, Ok("{{ secrets.key }}{{ secrets.key }}".to_owned()));
}

#[test]
fn random_numbers_and_times_follow_from_what_is_fixed() {
    let twice = "randomInt() != randomInt()";
    assert_eq!(print(twice), "true");
    assert_eq!(print("randomInt()"), print("randomInt()"));
    let other = Fixed { seed: [8; 32], ..fixed() };
    let template = Template::new("{{ randomInt() }}").unwrap();
    assert_ne!(
        evaluate_text(&template, &scope(), &other),
        evaluate_text(&template, &scope(), &fixed())
    );
    assert_eq!(print("all(1..100, randomInt(3) in 0..2)"), "true");
    assert_eq!(print("now()"), "2026-09-21T14:13:20Z");
}

#[test]
fn template_knows_what_it_reads() {
    let source = "{{ tasks.a + tasks[\"b\"] }} {{ let x = 1; x }} {{ map([1], item.value) }}";
    let template = Template::new(source).unwrap();

    assert_eq!(template.roots().into_iter().collect::<Vec<_>>(), ["item", "tasks"]);
    let members = ["a", "b"].map(str::to_owned).into();
    assert_eq!(template.reads("tasks"), Reads::Members(members));
    assert_eq!(template.reads("inputs"), Reads::Nothing);
    let computed = Template::new("{{ tasks.a + tasks[inputs.n] }}").unwrap();
    assert_eq!(computed.reads("tasks"), Reads::All);
    assert!(!template.is_plain());
}

#[test]
fn template_reads_and_writes_as_its_source() {
    let template: Template = serde_json::from_value(json!("a {{ 1 }}")).unwrap();

    assert_eq!(serde_json::to_value(&template).unwrap(), json!("a {{ 1 }}"));
    assert!(serde_json::from_value::<Template>(json!("{{")).is_err());
    for plain in ["", "}} {\"a\": {\"b\": {}}}", "{{ x }} {{{{"] {
        let template = Template::plain(plain);
        assert_eq!(text(template.source()), Ok(plain.to_owned()), "{plain}");
    }
    assert!(Template::plain("x }}").is_plain());
}

#[test]
fn template_error_names_the_place() {
    for (source, expected) in [
        ("a\nb {{ 1 + }}", "line 2, column 10: unexpected end of the expression: expected a value"),
        ("x {{ 1", "line 1, column 3: {{ without }}"),
        ("{{ }}", "line 1, column 4: an expression is missing"),
        ("{{ nope(1) }}", "line 1, column 4: there is no function nope"),
        ("{{ trim() }}", "line 1, column 4: trim takes 1 to 2 arguments"),
        ("{{ map([1]) }}", "line 1, column 4: map takes 2 arguments"),
        (
            "{{ 1 2 }}",
            "line 1, column 6: unexpected 2: expected an operator or the end of the expression",
        ),
        ("{{ \"a }}", "line 1, column 4: a text without its closing quote"),
        ("{{ # }}", "line 1, column 4: # stands outside of a predicate"),
        (
            "{{ 99999999999999999999 }}",
            "line 1, column 4: 99999999999999999999 is no number, or is too large",
        ),
        ("{{ a ~ b }}", "line 1, column 6: unknown character '~'"),
    ] {
        assert_eq!(problem(source), expected, "{source}");
    }
}

#[test]
fn items_are_lists_numbers_and_texts_of_them() {
    let items = |source: &str| evaluate_items(&Template::new(source).unwrap(), &scope(), &fixed());

    let million = items("{{ sequence(0, 1000000) }}").unwrap();
    assert_eq!(million, Items::Numbers { from: 0, len: 1_000_000 });
    assert_eq!((million.get(999_999), million.get(1_000_000)), (Some(json!(999_999)), None));
    assert_eq!(items("{{ int(inputs.n) }}"), Ok(Items::Numbers { from: 0, len: 7 }));
    assert_eq!(items("3"), Ok(Items::Numbers { from: 0, len: 3 }));
    let list = Items::Values(vec![json!(1), json!("b")]);
    assert_eq!(items("{{ inputs.list }}"), Ok(list.clone()));
    assert_eq!(items("{{ [1, \"b\"] }}"), Ok(list));
    assert_eq!(items("{{ inputs.name }}"), Err(Fault::NoList("text")));
    assert_eq!(items("{{ -1 }}"), Err(Fault::NoList("a negative number")));
    assert_eq!(items("{{ 1..10000000000 }}"), Err(Fault::TooManyItems));
}

#[test]
fn condition_is_false_only_on_the_text_false() {
    for (text, expected) in [(" false\n", true), ("true", false), ("", false), ("False", false)] {
        assert_eq!(is_false(text), expected, "{text:?}");
    }
}
