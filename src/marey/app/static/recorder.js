// Records a few seconds of the camera in the browser, and hands the file to the page.

const TYPES = ["video/mp4;codecs=avc1", "video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm"];
const WHY = {
  NotAllowedError: "The browser was not allowed to use the camera: allow it beside the address, and try again.",
  NotFoundError: "There is no camera.",
  NotReadableError: "Another program is using the camera.",
};

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".recorder");
  if (root.childElementCount) return undefined; // drawn already: a recording may be under way

  root.innerHTML = `
    <video muted playsinline hidden aria-label="what the camera sees"></video>
    <div class="row"><button class="main" type="button">Record</button><p role="status"></p></div>`;
  const video = root.querySelector("video");
  const button = root.querySelector("button");
  const status = root.querySelector("p");
  status.textContent = `up to ${data.seconds} seconds; nothing leaves this computer but to the page's own server`;

  let stream = null;
  let recording = null;
  let clock = null;
  let gone = false;

  const release = () => {
    clearInterval(clock);
    for (const track of stream?.getTracks() ?? []) track.stop();
    stream = null;
    recording = null;
    video.srcObject = null;
    video.hidden = true;
    button.textContent = "Record";
    button.disabled = false;
  };

  const send = (blob) => {
    const reader = new FileReader();
    reader.onload = () => {
      setTriggerValue("recording", { type: blob.type, data: reader.result.split(",", 2)[1] });
      status.textContent = "recorded";
    };
    reader.readAsDataURL(blob);
  };

  const start = async () => {
    button.disabled = true;
    if (!navigator.mediaDevices?.getUserMedia) {
      status.textContent = "Browsers open the camera only for this machine (localhost) or over https.";
      button.disabled = false;
      return;
    }
    try {
      stream = await navigator.mediaDevices.getUserMedia({
        video: { width: { ideal: 640 }, frameRate: { ideal: 25 }, facingMode: "environment" },
        audio: false,
      });
    } catch (error) {
      status.textContent = WHY[error.name] ?? `The camera cannot be opened: ${error.message}`;
      button.disabled = false;
      return;
    }
    if (gone) return release();
    video.srcObject = stream;
    video.hidden = false;
    await video.play();
    const type = TYPES.find((candidate) => MediaRecorder.isTypeSupported(candidate));
    recording = new MediaRecorder(stream, { mimeType: type, videoBitsPerSecond: 2_500_000 });
    const parts = [];
    recording.ondataavailable = (event) => parts.push(event.data);
    recording.onstop = () => {
      const kind = recording.mimeType;
      release();
      if (!gone) send(new Blob(parts, { type: kind }));
    };
    recording.start();
    const began = Date.now();
    const tick = () => {
      const seconds = (Date.now() - began) / 1000;
      status.textContent = `recording: ${seconds.toFixed(0)} of ${data.seconds} s`;
      if (seconds >= data.seconds) recording?.stop();
    };
    clock = setInterval(tick, 250);
    button.textContent = "Stop";
    button.disabled = false;
  };

  button.onclick = () => {
    if (recording) {
      clearInterval(clock);
      button.disabled = true;
      recording.stop();
    } else {
      start();
    }
  };
  return () => {
    gone = true;
    if (recording) recording.stop();
    else release();
  };
}
