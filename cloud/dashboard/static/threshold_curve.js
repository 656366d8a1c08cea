// What each score of a category would give on the locked set, and the operating point to drag.
import { askApi, wilson } from "sightline-ui";

const TOP = 12, RIGHT = 16, BOTTOM = 34, LEFT = 46, HEIGHT = 288;
const STEP = 0.01, LOW = 0.05, HIGH = 0.95;

export default {
  props: { release: Number, title: String, curves: Array, may_propose: Boolean },
  emits: ["said"],
  data() { return { current: 0, moved: {}, note: "", busy: false, width: 640, dragging: false }; },
  watch: { release() { this.moved = {}; this.current = 0; } },
  mounted() {
    this.observer = new ResizeObserver(([entry]) => { this.width = Math.max(280, entry.contentRect.width); });
    this.observer.observe(this.$refs.plot);
  },
  unmounted() { this.observer.disconnect(); },
  computed: {
    curve() { return this.curves[Math.min(this.current, this.curves.length - 1)]; },
    value() { return this.moved[this.curve.category] ?? this.curve.chosen; },
    point() { return this.at(this.value); },
    own() { return this.at(this.curve.chosen); },
    isDefect() { return this.curve.kind !== "object"; },
    recalls() { return this.line("recall"); },
    precisions() { return this.line("precision"); },
    ticks() { return [0, 0.2, 0.4, 0.6, 0.8, 1]; },
    changes() { return Object.entries(this.moved).filter(([name, value]) => Math.abs(value - this.ownOf(name)) > 0.004); },
    bottom: () => HEIGHT - BOTTOM,
    height: () => HEIGHT,
  },
  methods: {
    x(score) { return LEFT + (this.width - LEFT - RIGHT) * score; },
    y(share) { return TOP + (HEIGHT - TOP - BOTTOM) * (1 - share); },
    ownOf(name) { return this.curves.find((curve) => curve.category === name).chosen; },
    at(score) {
      return this.curve.points.reduce((best, point) => (Math.abs(point.threshold - score) < Math.abs(best.threshold - score) ? point : best));
    },
    line(key) {
      return this.curve.points.filter((point) => point[key] != null).map((point) => `${this.x(point.threshold).toFixed(1)},${this.y(point[key]).toFixed(1)}`).join(" ");
    },
    set(score) {
      const value = Math.round(Math.min(HIGH, Math.max(LOW, score)) / STEP) * STEP;
      this.moved = { ...this.moved, [this.curve.category]: Number(value.toFixed(2)) };
    },
    reset(name) { const { [name]: _, ...rest } = this.moved; this.moved = rest; },
    drag(event) {
      if (event.type === "pointerdown") { this.dragging = true; event.currentTarget.setPointerCapture(event.pointerId); this.$refs.handle.focus({ preventScroll: true }); }
      if (!this.dragging) return;
      const box = event.currentTarget.getBoundingClientRect();
      this.set((event.clientX - box.left - LEFT) / (this.width - LEFT - RIGHT));
    },
    key(event) {
      const step = (event.shiftKey ? 5 : 1) * STEP;
      const to = { ArrowLeft: this.value - step, ArrowDown: this.value - step, ArrowRight: this.value + step, ArrowUp: this.value + step, Home: LOW, End: HIGH }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      this.set(to);
    },
    percent: (share) => (share == null ? "–" : `${(100 * share).toFixed(1)} %`),
    interval(share, n) {
      if (share == null || !n) return "nothing labelled";
      const [low, high] = wilson(Math.round(share * n), n);
      return `${this.percent(low)} to ${this.percent(high)}, n = ${n}`;
    },
    change(key) {
      const now = this.point[key], before = this.own[key];
      if (now == null || before == null || Math.abs(now - before) < 0.0005) return "as now";
      const points = 100 * (now - before);
      return `${points > 0 ? "+" : "−"}${Math.abs(points).toFixed(1)} points`;
    },
    async propose() {
      this.busy = true;
      const thresholds = Object.fromEntries(this.changes);
      const answer = await askApi("POST", "/v1/recipe-proposals", { release: this.release, thresholds, note: this.note });
      this.busy = false;
      if (answer.ok) { this.moved = {}; this.note = ""; }
      this.$emit("said", { ok: answer.ok, text: answer.ok ? `Proposal ${answer.id} waits for a decision.` : answer.text });
    },
  },
  template: `
    <div class="sl-curve">
      <ul class="sl-curve__list" role="listbox" aria-label="Category">
        <li v-for="(item, i) in curves" :key="item.category" role="option" :aria-selected="i === current">
          <button type="button" class="sl-curve__item" :class="{ 'is-current': i === current }" @click="current = i">
            <span class="sl-ellipsis">{{ item.words }}</span>
            <span class="sl-num sl-push" :class="moved[item.category] !== undefined ? 'sl-curve__moved' : 'sl-faint'">{{ (moved[item.category] ?? item.chosen).toFixed(2) }}</span>
          </button>
        </li>
      </ul>
      <div ref="plot" class="sl-curve__plot">
        <svg :width="width" :height="height" @pointerdown="drag" @pointermove="drag" @pointerup="dragging = false" @pointercancel="dragging = false">
          <g v-for="tick in ticks" :key="tick">
            <line :x1="x(0)" :x2="x(1)" :y1="y(tick)" :y2="y(tick)" class="sl-curve__grid" />
            <text :x="x(0) - 8" :y="y(tick) + 4" text-anchor="end" class="sl-curve__tick">{{ Math.round(100 * tick) }} %</text>
            <text :x="x(tick)" :y="bottom + 17" text-anchor="middle" class="sl-curve__tick">{{ tick }}</text>
          </g>
          <text :x="x(0.5)" :y="height - 3" text-anchor="middle" class="sl-curve__tick">score from which {{ curve.words }} counts</text>
          <rect :x="x(0)" :y="y(1)" :width="Math.max(0, x(value) - x(0))" :height="bottom - y(1)" class="sl-curve__off" />
          <polyline :points="precisions" class="sl-curve__line sl-curve__line--precision" />
          <polyline :points="recalls" class="sl-curve__line sl-curve__line--recall" />
          <line :x1="x(curve.chosen)" :x2="x(curve.chosen)" :y1="y(1)" :y2="bottom" class="sl-curve__own" />
          <g ref="handle" tabindex="0" role="slider" class="sl-curve__handle" :aria-label="'Operating point of ' + curve.words" aria-valuemin="0.05" aria-valuemax="0.95" :aria-valuenow="value.toFixed(2)" @keydown="key">
            <line :x1="x(value)" :x2="x(value)" :y1="y(1) - 4" :y2="bottom" />
            <circle v-if="point.recall != null" :cx="x(value)" :cy="y(point.recall)" r="5" />
            <path :d="'M' + x(value) + ' ' + (bottom + 3) + 'l-9 -9v-13a4 4 0 0 1 4 -4h10a4 4 0 0 1 4 4v13z'" />
          </g>
        </svg>
        <div class="sl-curve__keys">
          <span><i class="sl-curve__key"></i>{{ isDefect ? "defects found" : "objects seen" }} (recall)</span>
          <span><i class="sl-curve__key sl-curve__key--precision"></i>right when it speaks (precision)</span>
          <span><i class="sl-curve__key sl-curve__key--own"></i>now, {{ curve.chosen.toFixed(2) }}</span>
        </div>
      </div>
      <div class="sl-curve__side">
        <div><span class="sl-label">{{ curve.words }} counts from</span><b class="sl-curve__value sl-num">{{ value.toFixed(2) }}</b></div>
        <dl class="sl-curve__facts">
          <dt>{{ isDefect ? "Defects found" : "Objects seen" }}</dt><dd><b>{{ percent(point.recall) }}</b> <span class="sl-faint">{{ change("recall") }}</span><small>{{ interval(point.recall, curve.num_boxes) }}</small></dd>
          <dt>Right when it speaks</dt><dd><b>{{ percent(point.precision) }}</b> <span class="sl-faint">{{ change("precision") }}</span></dd>
          <dt>False alarms</dt><dd><b>{{ (100 * point.false_alarms_per_image).toFixed(1) }}</b> in 100 pictures<small>{{ curve.num_images }} locked pictures</small></dd>
        </dl>
        <template v-if="may_propose">
          <p v-if="!changes.length" class="sl-faint sl-small">Drag the point, or use the arrow keys, to see what another score would give.</p>
          <template v-else>
            <ul class="sl-curve__changes"><li v-for="[name, to] in changes" :key="name"><span>{{ name.replaceAll("_", " ") }} {{ ownOf(name).toFixed(2) }} → <b>{{ to.toFixed(2) }}</b></span><button type="button" class="sl-link" @click="reset(name)">undo</button></li></ul>
            <input v-model="note" class="sl-input sl-input--small" maxlength="2000" placeholder="Why (optional)" aria-label="Why">
            <button type="button" class="sl-button sl-button--primary" :disabled="busy" @click="propose">Propose for the recipe</button>
          </template>
        </template>
      </div>
    </div>`,
};
