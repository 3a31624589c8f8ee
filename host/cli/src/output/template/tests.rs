//! Templates as people write them.

use serde_json::{Value, json};

use super::{Template, TemplateError, unescape};

fn render(template: &str, data: &Value) -> String {
    Template::parse(template)
        .expect("a template")
        .render(data)
        .expect("matching data")
}

fn container() -> Value {
    json!({
        "Id": "abc",
        "Name": "/web",
        "State": {"Running": true, "ExitCode": 0},
        "Args": ["-c", "sleep 1"],
        "Config": {"Env": ["A=1", "B=2"], "Labels": null},
        "NetworkSettings": {"Ports": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}},
    })
}

#[test]
fn fields_are_shown_as_go_shows_them() {
    assert_eq!(
        render("{{.State.Running}} {{.State.ExitCode}}", &container()),
        "true 0"
    );
    assert_eq!(
        render("{{.Args}} {{.Config.Labels}}", &container()),
        "[-c sleep 1] <no value>"
    );
    assert_eq!(
        render("{{.State}}", &container()),
        "map[ExitCode:0 Running:true]"
    );
    assert_eq!(render("{{.ID}}", &container()), "abc");
}

#[test]
fn json_shows_a_part_of_the_data() {
    assert_eq!(
        render("{{json .Args}}", &container()),
        r#"["-c","sleep 1"]"#
    );
    assert_eq!(
        render("{{.State | json}}", &container()),
        r#"{"ExitCode":0,"Running":true}"#
    );
}

#[test]
fn the_usual_way_to_a_host_port() {
    let template = "{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}";
    assert_eq!(render(template, &container()), "8080");
}

#[test]
fn range_sets_the_dot_or_variables() {
    let template = "{{range .Config.Env}}{{println .}}{{end}}";
    assert_eq!(render(template, &container()), "A=1\nB=2\n");
    let template =
        "{{range $p, $b := .NetworkSettings.Ports}}{{$p}}->{{(index $b 0).HostPort}}{{end}}";
    assert_eq!(render(template, &container()), "80/tcp->8080");
    assert_eq!(
        render("{{range .Config.Labels}}x{{else}}none{{end}}", &container()),
        "none"
    );
}

#[test]
fn conditions_and_comparisons() {
    let template =
        "{{if eq .State.ExitCode 0}}fine{{else if gt .State.ExitCode 9}}bad{{else}}so{{end}}";
    assert_eq!(render(template, &container()), "fine");
    assert_eq!(
        render("{{if not .State.Running}}a{{else}}b{{end}}", &container()),
        "b"
    );
    assert_eq!(
        render("{{with .Config.Labels}}x{{end}}-", &container()),
        "-"
    );
}

#[test]
fn dashes_eat_white_space_and_comments_vanish() {
    assert_eq!(render("a {{- .Id -}} b{{/* no */}}", &container()), "aabcb");
}

#[test]
fn words_do_what_docker_s_do() {
    assert_eq!(render("{{join .Args \",\"}}", &container()), "-c,sleep 1");
    assert_eq!(
        render(
            "{{upper .Id}} {{len .Args}} {{slice .Id 1 2}}",
            &container()
        ),
        "ABC 2 b"
    );
    assert_eq!(
        render("{{printf \"%s=%d%%\" .Id .State.ExitCode}}", &container()),
        "abc=0%"
    );
    assert_eq!(
        render("{{index (split .Name \"/\") 1}}", &container()),
        "web"
    );
    assert_eq!(
        render("{{$x := .Id}}{{$x}}{{$.Name}}", &container()),
        "abc/web"
    );
}

#[test]
fn a_field_that_is_not_there_is_told() {
    let error = Template::parse("{{.Nope}}")
        .expect("a template")
        .render(&container());
    assert_eq!(error, Err(TemplateError::NoField("Nope".to_owned())));
}

#[test]
fn mistakes_are_told() {
    let wrong = |template: &str| Template::parse(template).expect_err("an error");
    assert_eq!(wrong("{{.Id"), TemplateError::OpenAction);
    assert_eq!(wrong("{{if .Id}}x"), TemplateError::NoEnd("if"));
    assert_eq!(
        wrong("{{nope .Id}}"),
        TemplateError::NoFunction("nope".to_owned())
    );
    assert_eq!(
        wrong("{{end}}"),
        TemplateError::Unexpected("end".to_owned())
    );
    assert_eq!(wrong("{{\"x}}"), TemplateError::OpenText);
    assert_eq!(
        wrong("{{}}"),
        TemplateError::Unexpected("empty action".to_owned())
    );
}

#[test]
fn escapes_of_the_command_line_become_tabs() {
    assert_eq!(unescape(r"{{.ID}}\t{{.Names}}"), "{{.ID}}\t{{.Names}}");
}

#[test]
fn headings_come_from_the_fields() {
    let template = Template::parse("{{.ID}}\t{{json .Names}}").expect("a template");
    assert_eq!(template.fill_headings(&str::to_uppercase), "ID\tNAMES");
}
