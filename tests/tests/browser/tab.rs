//! A tab: what a person does with a page, and what may not happen meanwhile.

use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

use crate::chromium::{Chromium, LIMIT};

/// A tab of a browser of its own.
pub(crate) struct Tab {
    chromium: Chromium,
    session: String,
    origin: String,
    /// Pages that were loaded.
    pub(crate) loads: usize,
    /// The status of the last page.
    pub(crate) status: u64,
    /// Requests, of whatever kind.
    pub(crate) requests: usize,
    /// What should not have happened: errors, warnings, dialogs, and requests to others.
    faults: Vec<String>,
}

impl Tab {
    /// Opens one for a site; nothing where there is no browser.
    pub(crate) fn open(origin: &str) -> Option<Self> {
        let mut chromium = Chromium::start()?;
        let target = json!({ "url": "about:blank" });
        let target = chromium.call(None, "Target.createTarget", &target).unwrap()["targetId"].clone();
        let attach = json!({ "targetId": target, "flatten": true });
        let session = chromium.call(None, "Target.attachToTarget", &attach).unwrap()["sessionId"].clone();
        let session = session.as_str().unwrap().to_owned();
        let faults = Vec::new();
        let mut tab = Self { chromium, session, origin: origin.to_owned(), loads: 0, status: 0, requests: 0, faults };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            tab.call(&format!("{domain}.enable"), json!({}));
        }
        tab.call("Emulation.setTimezoneOverride", json!({ "timezoneId": "UTC" }));
        tab.call("Emulation.setLocaleOverride", json!({ "locale": "en-GB" }));
        tab.call("Emulation.setFocusEmulationEnabled", json!({ "enabled": true }));
        tab.resize(1280);
        tab.prefer("light");
        Some(tab)
    }

    /// A command of the protocol that does not fail.
    #[expect(clippy::needless_pass_by_value, reason = "made where it is passed")]
    pub(crate) fn call(&mut self, method: &str, params: Value) -> Value {
        let answer = self.chromium.call(Some(&self.session), method, &params);
        self.note(Duration::ZERO);
        answer.unwrap_or_else(|error| panic!("{method} {params}: {error}"))
    }

    fn note(&mut self, wait: Duration) {
        for event in self.chromium.events(wait) {
            let params = &event["params"];
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            match event["method"].as_str().unwrap_or_default() {
                "Page.loadEventFired" => self.loads += 1,
                "Page.javascriptDialogOpening" => self.faults.push(format!("a dialog: {}", params["message"])),
                "Runtime.exceptionThrown" => self.faults.push(format!("an exception: {}", params["exceptionDetails"])),
                "Runtime.consoleAPICalled" => {
                    self.faults.push(format!("console.{}: {}", text(&params["type"]), params["args"]));
                }
                "Log.entryAdded" if params["entry"]["level"] != "verbose" => {
                    self.faults.push(format!("the log: {} {}", params["entry"]["text"], params["entry"]["url"]));
                }
                "Network.requestWillBeSent" => {
                    self.requests += 1;
                    let url = text(&params["request"]["url"]);
                    if !url.starts_with(&format!("{}/", self.origin)) && !url.starts_with("data:") {
                        self.faults.push(format!("a request to {url}"));
                    }
                }
                "Network.responseReceived" if params["type"] == "Document" => {
                    self.status = params["response"]["status"].as_u64().unwrap_or_default();
                }
                _ => {}
            }
        }
    }

    /// Ends the test if something happened that should not have.
    pub(crate) fn check(&mut self, place: &str) {
        self.note(Duration::ZERO);
        assert!(self.faults.is_empty(), "{place}: {:#?}", self.faults);
    }

    /// Takes back what was expected.
    pub(crate) fn forgive(&mut self, text: &str) {
        self.note(Duration::from_millis(100));
        self.faults.retain(|fault| !fault.contains(text));
    }

    /// The width of the window; at less than 640 it is a phone.
    pub(crate) fn resize(&mut self, width: u32) {
        let (height, phone) = if width < 640 { (844, true) } else { (900, false) };
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// `light` or `dark`.
    pub(crate) fn prefer(&mut self, scheme: &str) {
        // Colours on their way from one to another are nobody's to judge.
        let still = json!({ "name": "prefers-reduced-motion", "value": "reduce" });
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }, still] });
        self.call("Emulation.setEmulatedMedia", features);
    }

    /// Pages run no script of theirs from here on.
    pub(crate) fn without_script(&mut self) {
        self.call("Emulation.setScriptExecutionDisabled", json!({ "value": true }));
    }

    pub(crate) fn goto(&mut self, path: &str) {
        let loads = self.loads;
        let answer = self.call("Page.navigate", json!({ "url": format!("{}{path}", self.origin) }));
        assert!(answer["errorText"].is_null(), "{path}: {answer}");
        self.loaded(loads, path);
    }

    fn loaded(&mut self, before: usize, what: &str) {
        let start = Instant::now();
        while self.loads == before {
            assert!(start.elapsed() < LIMIT, "no page after {what}");
            self.note(Duration::from_millis(50));
        }
    }

    /// The value of an expression; a promise is waited for.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", params);
        assert!(answer["exceptionDetails"].is_null(), "{expression:.300}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub(crate) fn until(&mut self, expression: &str) {
        let start = Instant::now();
        while self.eval(expression) != true {
            assert!(start.elapsed() < LIMIT, "never true: {expression}\n{}", self.text("main"));
            self.note(Duration::from_millis(50));
        }
    }

    /// The text of the first element that a selector means.
    pub(crate) fn text(&mut self, selector: &str) -> String {
        let text = self.eval(&format!("document.querySelector({})?.innerText", json!(selector)));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Presses the link or the button with these words in the first element that a selector means, with the mouse.
    pub(crate) fn press_in(&mut self, selector: &str, words: &str) {
        let find = format!(
            "[...document.querySelector({}).querySelectorAll('a, button, summary, input[type=checkbox]')].find((one) =>
                (one.getAttribute('aria-label') ?? one.innerText).trim() === {} && one.checkVisibility())",
            json!(selector),
            json!(words)
        );
        let place = self.eval(&format!(
            "(() => {{ const one = {find}; if (!one) return 'it is not there';
            one.scrollIntoView({{ block: 'center', inline: 'center' }});
            const box = one.getBoundingClientRect(), x = box.x + box.width / 2, y = box.y + box.height / 2;
            const top = document.elementFromPoint(x, y);
            if (!one.contains(top)) return 'something is above it: ' + (top && top.outerHTML.slice(0, 200));
            return {{ x, y }}; }})()"
        ));
        let (Some(x), Some(y)) = (place["x"].as_f64(), place["y"].as_f64()) else {
            panic!("{words:?} in {selector}: {place}\n{}", self.text("main"))
        };
        for (kind, buttons) in [("mouseMoved", 0), ("mousePressed", 1), ("mouseReleased", 0)] {
            let button = if kind == "mouseMoved" { "none" } else { "left" };
            let event = json!({ "type": kind, "x": x, "y": y, "button": button, "buttons": buttons, "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// The same anywhere on the page, and waits for the page that follows.
    pub(crate) fn press(&mut self, words: &str) {
        self.press_to_load("body", words);
    }

    pub(crate) fn press_to_load(&mut self, selector: &str, words: &str) {
        let loads = self.loads;
        self.press_in(selector, words);
        self.loaded(loads, words);
        // Nothing more comes of a page that is loaded, so that the next press meets what it saw.
        self.until("document.readyState === 'complete'");
    }

    /// Presses a key, such as `Tab`, `Enter` or `/`.
    pub(crate) fn key(&mut self, key: &str) {
        let (code, number, text) = match key {
            "Tab" => ("Tab", 9, ""),
            "Enter" => ("Enter", 13, "\r"),
            " " => ("Space", 32, " "),
            _ => ("", u32::from(key.as_bytes()[0]), key),
        };
        let mut event = json!({ "type": "keyDown", "key": key, "code": code, "windowsVirtualKeyCode": number });
        if !text.is_empty() {
            event["text"] = text.into();
        }
        self.call("Input.dispatchKeyEvent", event.clone());
        event["type"] = "keyUp".into();
        self.call("Input.dispatchKeyEvent", event);
    }

    /// Presses Enter, and waits for the page that follows.
    pub(crate) fn enter(&mut self) {
        let loads = self.loads;
        self.key("Enter");
        self.loaded(loads, "Enter");
    }

    /// Writes into what has the focus, in place of what is there.
    pub(crate) fn write(&mut self, selector: &str, text: &str) {
        self.eval(&format!(
            "(() => {{ const one = document.querySelector({}); one.focus(); one.select(); }})()",
            json!(selector)
        ));
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// A picture of the whole page, or of the window.
    pub(crate) fn picture(&mut self, path: &Path, whole: bool) {
        let answer = self.call("Page.captureScreenshot", json!({ "format": "png", "captureBeyondViewport": whole }));
        let bytes = base64::engine::general_purpose::STANDARD.decode(answer["data"].as_str().unwrap()).unwrap();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}
