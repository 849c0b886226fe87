//! Frames between a command and its dispatcher.

use super::*;
use crate::model::attempt::Stream;
use crate::model::endpoint::Endpoint;
use crate::model::id::{ServerId, TaskId};
use crate::model::ssh::Login;
use crate::model::ssh_command::SshCommand;
use crate::protocol::dispatcher::{FromDispatcher, ToDispatcher};
use crate::protocol::distributor::{Answer, Question};

#[test]
fn messages_of_commands_are_those_of_the_first_release() {
    let (task, index, stream) = (TaskId(12), Index(3), Stream::Out);
    let endpoint = Endpoint::Ssh { host: "front-a".into(), home: Some("/home/me/grid".into()) };
    let question = Question::States { owner: home(), user: None, uuids: vec![super::task()] };
    let login = Login { command: Some(SshCommand("ssh -F file".into())), auth_sock: Some("/run/agent".into()) };
    check(
        "to-dispatcher",
        vec![
            ("wake", ToDispatcher::Wake),
            ("status", ToDispatcher::Status),
            ("leave", ToDispatcher::Leave),
            ("watch", ToDispatcher::Watch { task, index: Some(index) }),
            ("follow", ToDispatcher::Follow { task, index, out: 5, err: 6 }),
            ("read", ToDispatcher::Read { task, index, number: 2, stream, offset: 5, max: 1 << 20 }),
            ("probe", ToDispatcher::Probe { server: ServerId(2) }),
            ("login", ToDispatcher::Login(login)),
            ("order", ToDispatcher::Submit(b"{}".to_vec())),
            ("ask", ToDispatcher::Ask { ticket: 9, endpoint, question, soon: false }),
            ("piece", ToDispatcher::Piece { ticket: 9, bytes: vec![1, 2] }),
            ("taken", ToDispatcher::Taken { ticket: 9, bytes: 4096 }),
            ("bring", ToDispatcher::Bring { task, index }),
        ],
    );
    check(
        "from-dispatcher",
        vec![
            ("hello", FromDispatcher::Hello { version: 1, pid: 4242 }),
            (
                "status",
                FromDispatcher::Status {
                    pid: 4242,
                    epoch: 7,
                    links: 3,
                    lanes: 2,
                    running: 1,
                    ssh: Some("ssh, no key agent".into()),
                },
            ),
            ("ended", FromDispatcher::Ended { task, index: None, code: Some(3) }),
            (
                "data",
                FromDispatcher::Data {
                    task,
                    index,
                    number: 2,
                    stream,
                    offset: 5,
                    bytes: b"x\0".to_vec(),
                    left_out: 0,
                    at_end: false,
                },
            ),
            ("probed", FromDispatcher::Probed { server: ServerId(2), error: Some("no route".into()) }),
            ("done", FromDispatcher::Done { answer: Some(b"{}".to_vec()) }),
            ("said", FromDispatcher::Said { ticket: 9, answer: Answer::Working, last: false }),
            ("unsaid", FromDispatcher::Unsaid { ticket: 9, heard: true, why: "cut".into(), late: false }),
            ("brought", FromDispatcher::Brought { task, index }),
        ],
    );
}
