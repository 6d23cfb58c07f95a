//! What is shipped for containers names options, files and addresses as the program knows them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use yaml_rust2::{Yaml, YamlLoader};

use crate::support::Place;

fn shipped(name: &str) -> (PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging").join(name);
    let text = fs::read_to_string(&path).unwrap();
    (path, text)
}

/// The document of a kind.
fn of_kind<'y>(documents: &'y [Yaml], kind: &str) -> &'y Yaml {
    let mut found = documents.iter().filter(|document| document["kind"].as_str() == Some(kind));
    let document = found.next().unwrap_or_else(|| panic!("there is no {kind}"));
    assert!(found.next().is_none(), "there are two {kind}");
    document
}

#[test]
fn the_manifests_fit_together_and_the_program() {
    let (_, text) = shipped("kubernetes/keybound.yaml");
    assert!(text.starts_with("# Not run by the project's tests"));
    let documents = YamlLoader::load_from_str(&text).unwrap();
    let spec = &of_kind(&documents, "Deployment")["spec"];
    let pod = &spec["template"]["spec"];
    let container = &pod["containers"][0];

    // Each file of the volume, where the configuration looks for it.
    let place = Place::new();
    let configuration = of_kind(&documents, "ConfigMap")["data"]["keybound.toml"].as_str().unwrap();
    place.write("keybound.toml", configuration);
    let key = rcgen::generate_simple_self_signed(["api.example.com".to_owned()]).unwrap();
    let (certificate, key) = (key.cert.pem(), key.signing_key.serialize_pem());
    let admin = of_kind(&documents, "Secret")["stringData"]["admin"].as_str().unwrap();
    fs::create_dir(place.work().join("secrets")).unwrap();
    for source in pod["volumes"][0]["projected"]["sources"].as_vec().unwrap() {
        for item in source["secret"]["items"].as_vec().into_iter().flatten() {
            let contents = match item["key"].as_str().unwrap() {
                "admin" => admin,
                "tls.crt" => &certificate,
                "tls.key" => &key,
                other => panic!("{other} is in no Secret"),
            };
            let file = place.write(item["path"].as_str().unwrap(), contents);
            // The process has them by its group; here they are its own.
            fs::set_permissions(file, fs::Permissions::from_mode(0o400)).unwrap();
        }
    }
    let said = place.run(&["config", "check", "keybound.toml"]);
    assert_eq!(said.good(), "keybound.toml: no mistakes\n");

    let words: Vec<&str> = container["args"].as_vec().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(words, ["serve", "--config", "/etc/keybound/keybound.toml"]);
    assert_eq!(container["volumeMounts"][0]["mountPath"].as_str(), Some("/etc/keybound"));
    for port in container["ports"].as_vec().unwrap() {
        let listener = format!("0.0.0.0:{}\"", port["containerPort"].as_i64().unwrap());
        assert!(configuration.contains(&listener), "nothing listens at {listener}");
    }
    assert_eq!((spec["replicas"].as_i64(), spec["strategy"]["type"].as_str()), (Some(1), Some("Recreate")));
    assert!(configuration.contains("drain_delay = \"5s\"") && configuration.contains("drain_timeout = \"30s\""));
    assert!(pod["terminationGracePeriodSeconds"].as_i64().unwrap() > 5 + 30);
}

#[test]
fn the_container_runs_what_the_program_understands() {
    let (path, text) = shipped("Containerfile");
    assert!(text.starts_with("# Not built or run by the project's tests"));
    assert!(text.contains("CMD [\"serve\", \"--config\", \"/etc/keybound/keybound.toml\"]"), "{}", path.display());
    assert!(Place::new().run(&["serve", "--help"]).good().contains("--config"));
}
