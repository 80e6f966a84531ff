use common::compute::container::{Parts, Side};

use super::*;
use crate::testing::{lease, number, parts, work};

fn file(path: &str) -> Command {
    Command::PackageFile { path: path.parse().unwrap(), interpreters: vec!["python3".to_owned()] }
}

fn launched(parts: Parts) -> Result<Launches, Error> {
    let dir = tempfile::tempdir().unwrap();
    let app = dir.path().join("app");
    std::fs::create_dir(&app).unwrap();
    std::fs::write(app.join("main.py"), "print()").unwrap();
    std::fs::write(app.join("empty.py"), "").unwrap();
    std::fs::write(app.join("run.sh"), "#!/bin/bash\r\nset -o pipefail\r\n").unwrap();
    let caches = Mounted::of_tests(Path::new("/u"), Path::new("/s"), 1);
    let files = dir.path().join("files");
    let folders = Folders {
        app: Some(&app),
        inputs: Path::new("/i"),
        results: Path::new("/r"),
        files: &files,
        shared: Path::new("/shared"),
        caches: Some(&caches),
    };
    let work = Work { container: ContainerSpec::new(parts).unwrap(), ..work() };
    let share = crate::testing::share(1);
    let launches = launches(lease(7), &work, &number(7), folders, &share)?;
    write_files(&launches.spec, &files)?;
    for mount in launches.steps[0].mounts.iter().filter(|mount| mount.host.starts_with(&files)) {
        assert_eq!(std::fs::read_to_string(&mount.host).unwrap(), mount.inside.as_str());
    }
    Ok(launches)
}

fn program(name: &str, command: Command) -> Program {
    Program { name: name.to_owned(), ..Program::new(command) }
}

#[test]
fn launch_mounts_the_paths_of_the_server() {
    let at = |path: &str| path.parse::<ContainerPath>().unwrap();
    let mounts = [
        (Content::Package, at("/x/package")),
        (Content::Inputs, at("/x/in")),
        (Content::Results, at("/x/out")),
        (Content::WorkspaceCache, at("/y")),
    ];
    let files = ["/x/a", "/x/b"].map(|path| (at(path), path.to_owned()));

    let main = Program { working_dir: Some(at("/z")), ..Program::new(file("main.py")) };

    let launches = launched(Parts {
        steps: vec![main],
        mounts: mounts.into(),
        shared: vec![at("/x/shared")],
        files: files.into(),
        ..parts()
    })
    .unwrap();

    let launch = &launches.steps[0];
    let mounted: Vec<_> =
        launch.mounts.iter().map(|m| (m.inside.as_str(), m.is_writable)).collect();
    let expected = [
        ("/x/package", false),
        ("/x/in", false),
        ("/y", true),
        ("/x/a", false),
        ("/x/b", false),
        ("/x/shared", true),
    ];
    assert_eq!(mounted, expected);
    assert_eq!(launch.results, Mount::own("/r".into(), "/x/out", true));
    assert_eq!(launch.working_dir, Some(at("/z")));
    assert_eq!(launch.shared, [Path::new("/shared/0")]);
    let command = ["python3", "/x/package/main.py"].map(str::to_owned).to_vec();
    assert!(matches!(&launch.entry, Entry::Commands(commands) if commands[0] == command));
    assert!(launch.env.contains(&"NUMBER=7".to_owned()));
}

#[test]
fn launch_refuses_a_file_that_the_package_does_not_have() {
    for name in ["other.py", "empty.py", "main.py/x"] {
        let result = launched(Parts {
            steps: vec![program("a", file("main.py")), program("b", file(name))],
            ..parts()
        });

        assert!(matches!(result, Err(Error::Unusable(_))), "{name}");
    }
}

#[test]
fn launch_of_a_container_beside_the_steps_has_its_own_part_of_the_resources() {
    let needs = Resources::new(200, 16);
    let side = Side { program: program("db", Command::Image), needs, port: Some(5432) };
    let steps = vec![program("main", Command::Image)];

    let launches =
        launched(Parts { steps, sides: vec![side], profile: Profile::Plain, ..parts() }).unwrap();

    let (step, side) = (&launches.steps[0], &launches.sides[0]);
    assert_eq!((side.launch.needs, side.port), (needs, Some(5432)));
    assert_eq!(step.needs, work().needs.minus(needs));
    assert_eq!(step.entry, Entry::Image);
    // The steps' time is the task's, and their watcher counts what both write.
    assert!(step.timeout.is_some() && side.launch.timeout.is_none());
    assert!(!step.is_watched && side.launch.is_watched);
    assert_eq!((step.profile, side.launch.profile), (Profile::Plain, Profile::Plain));
}

#[test]
fn launch_has_the_variables_of_its_program_before_all_others() {
    let own = [("PARAMS".to_owned(), "own".to_owned()), ("NUMBER".to_owned(), "0".to_owned())];
    let environment = BTreeMap::from(own).try_into().unwrap();
    let steps = vec![Program { environment, ..Program::new(Command::Image) }];

    let launches = launched(Parts { steps, ..parts() }).unwrap();

    let env = &launches.steps[0].env;
    for (name, value) in [("PARAMS", "own"), ("NUMBER", "0"), ("HOME", "/tmp")] {
        assert!(env.contains(&format!("{name}={value}")), "{env:?}");
        let of_name = env.iter().filter(|text| text.starts_with(&format!("{name}=")));
        assert_eq!(of_name.count(), 1);
    }
}
