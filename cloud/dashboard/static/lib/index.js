// Shared by the dashboard's components: words, ages, and a picture with boxes over it.
import { ref, onMounted, onUnmounted } from "vue";

export const VERDICT_WORDS = { ok: "OK", not_ok: "NOT_OK", not_decidable: "NOT_DECIDABLE" };

/** Ask the API as the person who is signed in; never throws: {ok, text, ...answer}. */
export async function askApi(method, path, body) {
  try {
    const answer = await fetch(path, {
      method, headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const document = await answer.json().catch(() => ({}));
    if (answer.ok) return { ok: true, text: "", ...document };
    return { ok: false, text: document.detail || `The server answered ${answer.status}.` };
  } catch {
    return { ok: false, text: "The server cannot be reached: nothing was noted." };
  }
}

/** Say that a verdict was wrong. */
export const contradict = (resultId, kind) => askApi("POST", `/v1/results/${resultId}/contradiction`, { kind });

/** Wilson's 95 % interval of a share, as the server counts it. */
export function wilson(count, n) {
  const z = 1.959964, share = count / n, z2 = z * z;
  const centre = (share + z2 / (2 * n)) / (1 + z2 / n);
  const half = (z * Math.sqrt((share * (1 - share)) / n + z2 / (4 * n * n))) / (1 + z2 / n);
  return [Math.max(0, centre - half), Math.min(1, centre + half)];
}

/** Hues that stay apart for colour-blind eyes too (after Okabe and Ito), dark enough for white text. */
export const CATEGORY_COLOURS = [
  "#0072b2", "#b5480f", "#00805f", "#a3427f", "#7a6a00",
  "#2f7fb8", "#c0392b", "#5b5fc7", "#4d7a1f", "#8a5a3c",
];

/** Seconds in words short enough for a card: "now", "42 s", "5 min", "3 h", "2 d". */
export function ageText(seconds) {
  if (seconds < 1.5) return "now";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

export function agoText(seconds) {
  const text = ageText(seconds);
  return text === "now" ? "just now" : `${text} ago`;
}

/** The server's clock: browsers on a shop floor are often minutes off. */
let serverOffsetMs = 0;
export function syncClock(serverNowMs) {
  if (serverNowMs) serverOffsetMs = serverNowMs - Date.now();
}

/** Reactive "seconds since", ticking once a second. */
export function useClock() {
  const now = ref(Date.now());
  let timer;
  onMounted(() => { timer = setInterval(() => { now.value = Date.now(); }, 1000); });
  onUnmounted(() => clearInterval(timer));
  return {
    now,
    since: (ms) => Math.max(0, (now.value + serverOffsetMs - ms) / 1000),
  };
}

export function clockText(ms) {
  return new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
}

/**
 * A picture with boxes drawn over it, placed in percent so that it scales with the page.
 * box: {category, score, kind: "object" | "defect", x, y, width, height} in pixels of the picture.
 */
export const SlPicture = {
  name: "SlPicture",
  props: {
    url: String,
    width: { type: Number, default: 640 },
    height: { type: Number, default: 512 },
    boxes: { type: Array, default: () => [] },
    labels: { type: Boolean, default: true },
    all_labels: Boolean,
    alt: { type: String, default: "" },
    none: { type: String, default: "No picture" },
    hint: { type: String, default: "" },
  },
  data() { return { shown: this.snapshot(), loaded: false, failed: false, busy: false }; },
  watch: {
    url() { this.load(); },
    boxes() { if (this.url === this.shown.url) this.shown = this.snapshot(); },
  },
  methods: {
    snapshot() { return { url: this.url, width: this.width, height: this.height, boxes: this.boxes }; },
    /** The old picture stays, with its own boxes, until the new one can be drawn: no flicker. */
    async load() {
      if (this.busy) return;
      this.busy = true;
      while (this.shown.url !== this.url) {
        const next = this.snapshot(), image = new Image();
        if (next.url) { image.src = next.url; await image.decode().catch(() => null); }
        this.failed = false;
        this.loaded = Boolean(next.url);
        this.shown = next;
      }
      this.busy = false;
    },
    place(box) {
      const w = this.shown.width || 1, h = this.shown.height || 1;
      return {
        left: `${(100 * box.x) / w}%`, top: `${(100 * box.y) / h}%`,
        width: `${(100 * box.width) / w}%`, height: `${(100 * box.height) / h}%`,
        "--c": box.kind === "object" ? "#3f8fce" : "#d6342c",
      };
    },
    sides(box) {
      return {
        "sl-box--object": box.kind === "object",
        "sl-box--low": box.y < this.shown.height * 0.09,
        "sl-box--right": box.x > this.shown.width * 0.62,
      };
    },
    text(box) {
      const name = box.category.replaceAll("_", " ");
      return box.score == null ? name : `${name} ${Math.round(box.score * 100)} %`;
    },
  },
  template: `
    <div class="sl-picture" :style="{ aspectRatio: (shown.width || 5) + ' / ' + (shown.height || 4) }">
      <img v-if="shown.url && !failed" :src="shown.url" :alt="alt" draggable="false" @load="loaded = true" @error="failed = true">
      <div v-else class="sl-picture__none"><b>{{ failed ? "Picture cannot be loaded" : none }}</b><span v-if="hint">{{ hint }}</span></div>
      <template v-if="shown.url && loaded && !failed">
        <div v-for="(box, i) in shown.boxes" :key="i" class="sl-box" :class="sides(box)" :style="place(box)" :title="text(box)">
          <span v-if="labels && (all_labels || box.kind !== 'object')" class="sl-box__label">{{ text(box) }}</span>
        </div>
      </template>
    </div>`,
};
