//! Other arguments for a job.

use bytes::Bytes;
use maud::html;
use work_core::JobState;

use super::{Answer, Frame, done, json, page};
use crate::actions;
use crate::call::{Call, value};
use crate::failure::Failure;
use crate::version::version_of;
use crate::view::{JobView, Seen};

pub(crate) async fn ask(call: Call) -> Answer {
    let stored = actions::found(&call, call.job_id()?).await?;
    let job = JobView::of(&call.app, &stored);
    // What is left out by a hook must not be written back as if it were all.
    let (text, hidden) = match (&job.args, &call.app.args) {
        (Seen::Json(args), crate::dashboard::ArgsView::Shown) => (json::pretty(args.get()), false),
        (Seen::Text(args), crate::dashboard::ArgsView::Shown) => (args.clone(), false),
        _ => (String::new(), true),
    };
    let ended = job.is(JobState::Discarded) || job.is(JobState::Cancelled);
    let frame = Frame::of(&call);
    let content = html! {
        section.card {
            h1 { "Edit " (job.kind) }
            p.dim { code.id { (job.id) } }
            @if hidden { p.notice { "The arguments are not shown here. What you write replaces all of them." } }
            form.stack method="post" action=(frame.link(&format!("/jobs/{}/edit", job.id))) {
                (frame.secret())
                input type="hidden" name="seen" value=(version_of(&stored));
                label for="args" { "Args, as JSON" }
                textarea id="args" name="args" rows="14" spellcheck="false" required { "\n" (text) }
                div.row {
                    @if ended { button.primary name="then" value="retry" { "Save and retry" } }
                    button name="then" value="save" { "Save" }
                    a.button href=(frame.link(&format!("/jobs/{}", job.id))) { "Back" }
                }
            }
        }
    };
    page(&call, "Edit", "/jobs", &content)
}

pub(crate) async fn act(call: Call) -> Answer {
    let id = call.job_id()?;
    let form = call.form();
    let args = value(&form, "args").ok_or_else(|| Failure::bad("invalid-args", "The form has no arguments."))?;
    let (args, seen) = (Bytes::from(args.trim().to_owned()), value(&form, "seen"));
    let retry = value(&form, "then") == Some("retry");
    if retry {
        actions::edit_and_retry(&call, id, args, seen).await?;
    } else {
        actions::edit(&call, id, args, seen).await?;
    }
    done(&call, &format!("/jobs/{id}"), if retry { "edit-retry" } else { "edit" })
}
