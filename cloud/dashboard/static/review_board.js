// The review queue: look, fix the boxes, next. Everything happens in the browser; the server hears
// of a picture once, when it is decided, and the next one is already loaded by then.
import { CATEGORY_COLOURS, agoText, syncClock, useClock, VERDICT_WORDS } from "sightline-ui";
import { ghostBox, HANDLES, MIN_SIDE, moved, readingOrder, resized, spanned, stretched } from "sightline-ui/boxes.js";
import { AlikeBar, OpinionBar, TASK_WORDS } from "sightline-ui/review_bars.js";

const PREFETCH = 3;
const MAX_ZOOM = 12;
const RATE_WINDOW_MS = 10 * 60 * 1000;

export default {
  components: { AlikeBar, OpinionBar },
  props: { queue: Array, categories: Array, pending: Number, server_ms: Number, may_label: Boolean, done_today: Number },
  setup: () => ({ ...useClock(), handles: HANDLES, taskWords: TASK_WORDS }),
  data: () => ({
    items: [], at: 0, boxes: [], history: [], selected: -1, category: "", drag: null, hover: -1,
    view: { x: 0, y: 0, zoom: 1 }, stage: { w: 1, h: 1 }, decided: {}, trail: [], refusals: {}, shown: true, failed: false, panning: false,
    offered: null, pointer: null, opinion: 0,
  }),
  created() { syncClock(this.server_ms); this.merge(); },
  watch: {
    server_ms(value) { syncClock(value); },
    queue() { this.merge(); },
    categories() { if (!this.category) this.category = this.defaultCategory; },
    "current.sha256"() { this.open(); },
  },
  mounted() {
    this.open();
    this.resizer = new ResizeObserver(() => this.measure());
    if (this.$refs.stage) this.resizer.observe(this.$refs.stage);
    this.onKey = (event) => this.key(event);
    window.addEventListener("keydown", this.onKey);
  },
  updated() { if (this.$refs.stage && this.observed !== this.$refs.stage) { this.observed = this.$refs.stage; this.resizer.disconnect(); this.resizer.observe(this.$refs.stage); } },
  unmounted() { window.removeEventListener("keydown", this.onKey); this.resizer?.disconnect(); },
  computed: {
    current() { return this.items[this.at] || {}; },
    names() { return this.categories.map((category) => category.name); },
    defaultCategory() { return (this.categories.find((category) => category.kind === "defect") || this.categories[0] || {}).name || ""; },
    left() { return this.items.filter((item) => !this.decided[item.sha256]).length; },
    waiting() { return Math.max(this.left, this.pending - Object.keys(this.decided).length); },
    fit() { return Math.min(this.stage.w / (this.current.width || 1), this.stage.h / (this.current.height || 1)); },
    scale() { return this.fit * this.view.zoom; },
    viewBox() {
      const w = this.stage.w / this.scale, h = this.stage.h / this.scale;
      return `${this.view.x - w / 2} ${this.view.y - h / 2} ${w} ${h}`;
    },
    drawOrder() {
      return this.boxes.map((_, i) => i).sort((a, b) => (a === this.selected) - (b === this.selected) || this.boxes[b].w * this.boxes[b].h - this.boxes[a].w * this.boxes[a].h);
    },
    decisions() { return this.trail.length; },
    perHour() {
      const from = Date.now() - RATE_WINDOW_MS, recent = this.trail.filter((entry) => entry.at > from);
      if (recent.length < 4) return 0;
      return Math.round((3600000 * (recent.length - 1)) / Math.max(1000, recent[recent.length - 1].at - recent[0].at));
    },
    isChanged() { return this.history.length > 0; },
    /** Boxes of the other opinion, to lay under those that are edited. */
    otherBoxes() { const others = this.current.opinions || []; return others.length === 2 ? others[1 - this.opinion].boxes : []; },
  },
  methods: {
    agoText,
    words: (verdict) => VERDICT_WORDS[verdict] || "",
    plain: (name) => (name || "").replaceAll("_", " "),
    colour(name) { const i = this.names.indexOf(name); return i < 0 ? "#6b7785" : CATEGORY_COLOURS[i % CATEGORY_COLOURS.length]; },
    kindOf(name) { return (this.categories.find((category) => category.name === name) || {}).kind || "defect"; },
    tagStyle(box) {
      // Above the box where there is room, else under its upper edge.
      const left = (box.x - this.view.x) * this.scale + this.stage.w / 2, top = (box.y - this.view.y) * this.scale + this.stage.h / 2;
      return { "--c": this.colour(box.category), left: `${Math.max(0, left - 1)}px`, top: `${top > 22 ? top - 21 : top + 1}px` };
    },
    keyOf: (i) => (i < 9 ? String(i + 1) : i === 9 ? "0" : ""),

    // --- the queue ---------------------------------------------------------------------------
    merge() {
      // What is on the screen stays where it is; new pictures join at the end.
      const known = new Map(this.items.map((item) => [item.sha256, item]));
      const arriving = new Set(this.queue.map((item) => item.sha256));
      const kept = this.items.filter((item) => arriving.has(item.sha256) || this.decided[item.sha256] || item === this.current);
      const sha = this.current.sha256, newest = new Map(this.queue.map((item) => [item.sha256, item]));
      for (let i = 0; i < kept.length; i++) {
        const item = kept[i], now = newest.get(item.sha256);
        if (now && item !== this.current && !this.decided[item.sha256]) kept[i] = now;
      }
      this.items = [...kept, ...this.queue.filter((item) => !known.has(item.sha256))];
      this.at = Math.max(0, this.items.findIndex((item) => item.sha256 === sha));
      if (!this.category) this.category = this.defaultCategory;
    },
    open() {
      const item = this.current;
      this.history = []; this.selected = -1; this.drag = null; this.failed = false; this.opinion = 0;
      const saved = this.decided[item.sha256];
      this.boxes = (saved ? saved.boxes : item.boxes || []).map((box) => ({ ...box }));
      this.fitView();
      this.$nextTick(() => { this.measure(); this.$refs.current?.[0]?.scrollIntoView({ block: "nearest" }); });
      for (const next of this.items.slice(this.at + 1).filter((other) => !this.decided[other.sha256]).slice(0, PREFETCH)) new Image().src = next.url;
    },
    measure() {
      const stage = this.$refs.stage;
      if (stage) this.stage = { w: Math.max(1, stage.clientWidth), h: Math.max(1, stage.clientHeight) };
    },
    fitView() { this.view = { x: (this.current.width || 0) / 2, y: (this.current.height || 0) / 2, zoom: 1 }; },
    go(step) {
      const to = this.at + step;
      if (to >= 0 && to < this.items.length) this.at = to;
    },
    advance() {
      const open = (item) => !this.decided[item.sha256];
      let to = this.items.findIndex((item, i) => i > this.at && open(item));
      if (to < 0) to = this.items.findIndex(open);
      if (to >= 0) this.at = to; else this.at = this.items.length;
    },
    decide(decision) {
      const item = this.current;
      if (!item.sha256 || !this.may_label) return;
      const before = this.decided[item.sha256];
      const entry = { decision, boxes: this.boxes.map((box) => ({ ...box })) };
      this.decided = { ...this.decided, [item.sha256]: entry };
      delete this.refusals[item.sha256];
      this.trail = [...this.trail, { sha256: item.sha256, at: Date.now() }];
      this.offered = null;
      this.$emit("decide", {
        sha256: item.sha256, decision, again: Boolean(before), revision: item.revision,
        boxes: decision === "labelled" ? entry.boxes.map((box) => ({ category: box.category, bbox: [box.x, box.y, box.w, box.h] })) : [],
      });
      this.advance();
    },
    /** The server refused what was decided: bring the picture back with its boxes. */
    refuse(sha256, text) {
      const entry = this.decided[sha256], item = this.items.find((other) => other.sha256 === sha256);
      if (entry && item) item.boxes = entry.boxes;
      const { [sha256]: _, ...rest } = this.decided;
      this.decided = rest;
      this.refusals = { ...this.refusals, [sha256]: text };
      this.trail = this.trail.filter((other) => other.sha256 !== sha256);
    },

    /** The server offers pictures that look like one that was just labelled. */
    offer(offered) {
      const entry = this.decided[offered.sha256];
      if (entry && offered.pictures.length) this.offered = { ...offered, decision: entry.decision, boxes: entry.boxes };
    },
    takeAlike(pictures) {
      const { sha256, decision, boxes } = this.offered;
      this.offered = null;
      if (!pictures.length) return;
      const known = new Set(this.items.map((item) => item.sha256)), decided = { ...this.decided };
      for (const other of pictures) if (known.has(other)) decided[other] = { decision, boxes };
      this.decided = decided;
      const at = Date.now();
      this.trail = [...this.trail, ...pictures.map((other) => ({ sha256: other, at, group: pictures }))];
      this.$emit("alike", { sha256, pictures });
      if (this.decided[this.current.sha256] && pictures.includes(this.current.sha256)) this.advance();
    },
    chooseOpinion(number) {
      const chosen = (this.current.opinions || [])[number];
      if (!chosen) return;
      this.remember();
      this.opinion = number; this.selected = -1;
      this.boxes = chosen.boxes.map((box) => ({ ...box }));
    },

    // --- boxes -------------------------------------------------------------------------------
    remember() { this.history = [...this.history.slice(-99), this.boxes.map((box) => ({ ...box }))]; },
    undo() {
      if (this.history.length) {
        this.boxes = this.history[this.history.length - 1];
        this.history = this.history.slice(0, -1);
        this.selected = -1;
      } else if (this.trail.length) {
        // Nothing to take back here: take back the last decision, or the last group as a whole.
        const last = this.trail[this.trail.length - 1], taken = last.group || [last.sha256];
        this.trail = this.trail.filter((entry) => (last.group ? entry.group !== last.group : entry !== last));
        this.offered = null;
        const decided = { ...this.decided };
        for (const sha256 of taken) {
          const item = this.items.find((other) => other.sha256 === sha256);
          if (item && decided[sha256]) item.boxes = decided[sha256].boxes;
          delete decided[sha256];
        }
        this.decided = decided;
        this.$emit("back", taken);
        const to = this.items.findIndex((item) => taken.includes(item.sha256));
        if (to === this.at) this.open();
        else if (to >= 0) this.at = to;
      }
    },
    choose(name) {
      this.category = name;
      if (this.selected >= 0 && this.boxes[this.selected].category !== name) {
        this.remember();
        this.boxes[this.selected] = { ...this.boxes[this.selected], category: name, score: null };
      }
    },
    remove(i = this.selected) {
      if (i < 0) return;
      this.remember();
      this.boxes = this.boxes.filter((_, other) => other !== i);
      this.selected = -1;
    },
    cycle(step) {
      if (!this.boxes.length) return;
      const order = readingOrder(this.boxes), now = order.indexOf(this.selected);
      this.selected = order[(now < 0 ? (step > 0 ? 0 : order.length - 1) : now + step + order.length) % order.length];
    },
    /** A new box of the chosen category where the pointer is: to be moved and stretched with keys. */
    place() {
      if (!this.category || !this.may_label) return;
      this.remember();
      const box = ghostBox(this.boxes, this.category, this.pointer, this.current.width, this.current.height);
      this.boxes = [...this.boxes, { ...box, category: this.category, score: null }];
      this.selected = this.boxes.length - 1;
    },
    stretch(dw, dh) {
      if (this.selected < 0) return;
      this.remember();
      this.boxes[this.selected] = stretched(this.boxes[this.selected], dw, dh, this.current.width, this.current.height);
    },
    nudge(dx, dy) {
      if (this.selected < 0) return;
      this.remember();
      this.boxes[this.selected] = moved(this.boxes[this.selected], dx, dy, this.current.width, this.current.height);
    },
    /** Arrows alone go through the queue, with Shift they move the box, with Alt they stretch it. */
    arrow(event, dx, dy, step) {
      if (event.altKey) this.stretch(dx * step, dy * step);
      else if (event.shiftKey) this.nudge(dx * step, dy * step);
      else this.go(dx + dy);
    },

    // --- pointer -----------------------------------------------------------------------------
    point(event) {
      const rect = this.$refs.stage.getBoundingClientRect();
      return {
        x: this.view.x + (event.clientX - rect.left - rect.width / 2) / this.scale,
        y: this.view.y + (event.clientY - rect.top - rect.height / 2) / this.scale,
      };
    },
    down(event, i = -1, handle = "") {
      if (event.button === 1 || (event.button === 0 && this.panning)) {
        this.drag = { kind: "pan", x: event.clientX, y: event.clientY, view: { ...this.view } };
      } else if (event.button === 0 && this.may_label) {
        const from = this.point(event);
        if (handle) { this.remember(); this.drag = { kind: "resize", i, handle }; }
        else if (i >= 0 && i === this.selected && !event.altKey) { this.drag = { kind: "move", i, from, box: this.boxes[i], began: false }; }
        else this.drag = { kind: "draw", from, to: from, over: i };
      } else return;
      event.preventDefault();
      this.$refs.stage.setPointerCapture(event.pointerId);
      document.activeElement?.blur?.();
    },
    move(event) {
      const drag = this.drag, to = this.point(event), { width, height } = this.current;
      this.pointer = to;
      if (!drag) return;
      if (drag.kind === "pan") this.view = { ...this.view, x: drag.view.x - (event.clientX - drag.x) / this.scale, y: drag.view.y - (event.clientY - drag.y) / this.scale };
      else if (drag.kind === "resize") this.boxes[drag.i] = resized(this.boxes[drag.i], drag.handle, to, width, height);
      else if (drag.kind === "move") {
        if (!drag.began && Math.hypot(to.x - drag.from.x, to.y - drag.from.y) * this.scale < 3) return;
        if (!drag.began) { this.remember(); drag.began = true; }
        this.boxes[drag.i] = moved(drag.box, to.x - drag.from.x, to.y - drag.from.y, width, height);
      } else this.drag = { ...drag, to };
    },
    up() {
      const drag = this.drag;
      this.drag = null;
      if (!drag || drag.kind !== "draw") return;
      const box = spanned(drag.from, drag.to, this.current.width, this.current.height);
      if (Math.max(box.w, box.h) * this.scale < 5) { this.selected = drag.over; return; }
      if (box.w < MIN_SIDE || box.h < MIN_SIDE || !this.category) return;
      this.remember();
      this.boxes = [...this.boxes, { ...box, category: this.category, score: null }];
      this.selected = this.boxes.length - 1;
    },
    wheel(event) {
      event.preventDefault();
      const at = this.point(event), zoom = Math.min(MAX_ZOOM, Math.max(1, this.view.zoom * Math.exp(-event.deltaY * 0.0016)));
      const k = this.view.zoom / zoom;
      this.view = zoom === 1 ? { x: this.current.width / 2, y: this.current.height / 2, zoom: 1 } : { x: at.x + (this.view.x - at.x) * k, y: at.y + (this.view.y - at.y) * k, zoom };
    },
    ghost() { return this.drag?.kind === "draw" ? spanned(this.drag.from, this.drag.to, this.current.width, this.current.height) : null; },

    // --- keys --------------------------------------------------------------------------------
    key(event) {
      const target = event.target;
      if (target.closest?.("input, textarea, select, [contenteditable], .q-dialog, .q-menu") || document.querySelector(".q-dialog")) return;
      // A focused link or button of the header keeps its own keys.
      const focused = document.activeElement;
      if (focused && focused !== document.body && !this.$el.contains?.(focused)) return;
      const isBrowsers = event.metaKey || (event.ctrlKey && !event.key.startsWith("Arrow"));
      if (isBrowsers && event.key.toLowerCase() !== "z") return;
      const act = this.keys(event);
      if (!act) return;
      event.preventDefault();
      act();
    },
    keys(event) {
      const step = event.ctrlKey ? 10 : 2, far = event.shiftKey;
      const number = event.key >= "0" && event.key <= "9" ? (Number(event.key) + 9) % 10 : -1;
      if (number >= 0) return this.categories[number] && (() => this.choose(this.categories[number].name));
      return {
        Tab: () => this.cycle(far ? -1 : 1),
        Enter: () => this.decide("labelled"),
        x: () => this.decide("rejected"), X: () => this.decide("rejected"),
        z: () => this.undo(), Z: () => this.undo(),
        Delete: () => this.remove(), Backspace: () => this.remove(),
        Escape: () => { if (this.offered) this.offered = null; else { this.selected = -1; this.drag = null; } },
        ArrowRight: () => this.arrow(event, 1, 0, step), ArrowLeft: () => this.arrow(event, -1, 0, step),
        ArrowDown: () => this.arrow(event, 0, 1, step), ArrowUp: () => this.arrow(event, 0, -1, step),
        n: () => this.place(), N: () => this.place(),
        g: () => this.$refs.alike?.take(), G: () => this.$refs.alike?.take(),
        q: () => this.chooseOpinion(0), Q: () => this.chooseOpinion(0),
        w: () => this.chooseOpinion(1), W: () => this.chooseOpinion(1),
        h: () => { this.shown = !this.shown; }, H: () => { this.shown = !this.shown; },
        f: () => this.fitView(), F: () => this.fitView(),
      }[event.key];
    },
  },
  template: `
    <div class="sl-review" v-if="items.length && current.sha256">
      <aside class="sl-panel sl-queue" aria-label="Queue">
        <div class="sl-queue__head"><b>{{ waiting }}</b> waiting<span class="sl-push" v-if="decisions">{{ decisions }} done{{ perHour ? ", " + perHour + " an hour" : "" }}</span></div>
        <div class="sl-queue__list">
          <button v-for="(item, i) in items" :key="item.sha256" :ref="i === at ? 'current' : null" class="sl-queue__item" :class="{ 'is-current': i === at, 'is-done': decided[item.sha256] }" @click="at = i" tabindex="-1">
            <img :src="item.thumbnail" :alt="item.part_id" loading="lazy" draggable="false">
            <span><b>{{ item.part_id }}<em v-if="item.num_alike" class="sl-queue__alike" title="Others that look alike">+{{ item.num_alike }}</em></b><span class="sl-queue__why">{{ item.task === "first" ? item.reasons.join(", ") : taskWords[item.task] }}</span><span class="sl-faint">{{ refusals[item.sha256] ? "not saved" : decided[item.sha256] ? decided[item.sha256].decision : agoText(since(item.created_ms)) }}</span></span>
            <i v-if="decided[item.sha256]" class="sl-sign" :class="decided[item.sha256].decision === 'labelled' ? 'sl-sign--ok' : 'sl-sign--not_ok'"></i>
          </button>
        </div>
      </aside>

      <section class="sl-panel sl-easel">
        <div v-if="refusals[current.sha256]" class="sl-alarm" style="margin: 10px 10px 0" role="alert"><i class="sl-sign sl-sign--alarm"></i><p><b>Not saved.</b> {{ refusals[current.sha256] }}</p></div>
        <opinion-bar v-if="current.task !== 'first' && !decided[current.sha256]" :item="current" :chosen="opinion" @choose="chooseOpinion" />
        <div class="sl-easel__stage" ref="stage" :class="{ 'is-panning': panning }" data-testid="stage"
             @pointerdown="down($event)" @pointermove="move" @pointerup="up" @pointercancel="drag = null" @wheel="wheel" @contextmenu.prevent @dblclick="fitView">
          <svg :viewBox="viewBox" preserveAspectRatio="none">
            <image :href="current.url" x="0" y="0" :width="current.width" :height="current.height" preserveAspectRatio="none" @error="failed = true" :style="{ imageRendering: scale > 3 ? 'pixelated' : 'auto' }" />
            <g v-if="shown" style="pointer-events: none">
              <rect v-for="(box, i) in otherBoxes" :key="'o' + i" :x="box.x" :y="box.y" :width="box.w" :height="box.h" class="sl-mark__other" :style="{ '--c': colour(box.category) }" />
            </g>
            <g v-if="shown">
              <g v-for="i in drawOrder" :key="i" :style="{ '--c': colour(boxes[i].category) }" class="sl-mark" :class="{ 'is-selected': i === selected, 'is-hovered': i === hover }"
                 @pointerdown.stop="down($event, i)" @pointerenter="hover = i" @pointerleave="hover = -1">
                <rect :x="boxes[i].x" :y="boxes[i].y" :width="boxes[i].w" :height="boxes[i].h" class="sl-mark__halo" />
                <rect :x="boxes[i].x" :y="boxes[i].y" :width="boxes[i].w" :height="boxes[i].h" class="sl-mark__line" :stroke-dasharray="boxes[i].score == null ? null : '7 4'" />
                <g v-if="i === selected">
                  <rect v-for="[name, fx, fy, cursor] in handles" :key="name" class="sl-mark__handle" :style="{ cursor }" :x="boxes[i].x + boxes[i].w * fx - 4.5 / scale" :y="boxes[i].y + boxes[i].h * fy - 4.5 / scale" :width="9 / scale" :height="9 / scale" @pointerdown.stop="down($event, i, name)" />
                </g>
              </g>
              <rect v-if="ghost()" v-bind="{ x: ghost().x, y: ghost().y, width: ghost().w, height: ghost().h }" class="sl-mark__ghost" :style="{ '--c': colour(category) }" />
            </g>
          </svg>
          <template v-if="shown">
            <span v-for="i in drawOrder" :key="'l' + i" class="sl-tag" :class="{ 'is-selected': i === selected }" v-show="i === selected || i === hover || kindOf(boxes[i].category) === 'defect'"
                  :style="tagStyle(boxes[i])">{{ plain(boxes[i].category) }}<small v-if="boxes[i].score != null"> {{ Math.round(100 * boxes[i].score) }} %</small></span>
          </template>
          <div v-if="failed" class="sl-picture__none"><b>This picture cannot be loaded.</b><span>Reject it with X, or look at the image store.</span></div>
        </div>
        <alike-bar v-if="offered" ref="alike" :key="offered.sha256" :offered="offered" :colour="colour" @take="takeAlike" @leave="offered = null" />
        <footer class="sl-easel__foot">
          <button class="sl-button" @click="go(-1)" :disabled="at === 0" tabindex="-1"><kbd>←</kbd></button>
          <button class="sl-button" @click="go(1)" :disabled="at >= items.length - 1" tabindex="-1"><kbd>→</kbd></button>
          <span class="sl-muted sl-small sl-grow sl-ellipsis">{{ boxes.length ? boxes.length + (boxes.length === 1 ? " box" : " boxes") : "No boxes: accepting says that nothing is in the picture" }}{{ view.zoom > 1.01 ? " · " + view.zoom.toFixed(1) + "×" : "" }}</span>
          <button class="sl-button" @click="undo" :disabled="!isChanged && !trail.length" tabindex="-1">Undo <kbd>Z</kbd></button>
          <button class="sl-button sl-button--danger" @click="decide('rejected')" :disabled="!may_label" tabindex="-1" title="Of no use for training: black, blurred, not a part">Reject picture <kbd>X</kbd></button>
          <button class="sl-button sl-button--primary" @click="decide('labelled')" :disabled="!may_label" tabindex="-1">{{ isChanged ? "Save" : "Accept" }} <kbd>Enter</kbd></button>
        </footer>
      </section>

      <aside class="sl-review__side">
        <section class="sl-panel sl-side-block">
          <div class="sl-row"><span class="sl-label">Category</span><button class="sl-link sl-push" v-if="may_label" @click="$emit('add')" tabindex="-1">Add</button></div>
          <button v-for="(item, i) in categories" :key="item.name" class="sl-category" :class="{ 'is-chosen': selected >= 0 ? boxes[selected].category === item.name : category === item.name }" :style="{ '--c': colour(item.name) }" @click="choose(item.name)" tabindex="-1">
            <i></i><span class="sl-ellipsis sl-grow">{{ plain(item.name) }}</span><span class="sl-faint sl-small">{{ item.kind === "defect" ? "defect" : "" }}</span><kbd v-if="keyOf(i)">{{ keyOf(i) }}</kbd>
          </button>
        </section>
        <section class="sl-panel sl-side-block">
          <span class="sl-label">Picture</span>
          <dl class="sl-facts sl-small">
            <dt>Part</dt><dd><a :href="current.href" target="_blank" tabindex="-1">{{ current.part_id }}</a></dd>
            <dt>Cell</dt><dd>{{ current.cell }}</dd>
            <dt>Said</dt><dd><span v-if="current.verdict" class="sl-verdict-text" :class="'sl-verdict-text--' + current.verdict"><i class="sl-sign" :class="'sl-sign--' + current.verdict"></i>{{ words(current.verdict) }}</span><span v-else>–</span></dd>
            <dt v-if="current.verdict_reasons">Because</dt><dd v-if="current.verdict_reasons">{{ current.verdict_reasons }}</dd>
            <dt>Kept for</dt><dd>{{ current.reasons.join(", ") }}</dd>
            <dt>Model</dt><dd>{{ current.model || "–" }}</dd>
            <dt>Age</dt><dd>{{ agoText(since(current.created_ms)) }}</dd>
          </dl>
        </section>
        <section class="sl-panel sl-side-block sl-legend">
          <span class="sl-label">Keys</span>
          <div class="sl-legend__keys">
            <span><kbd>drag</kbd> new box</span><span><kbd>Tab</kbd> select</span>
            <span><kbd>1</kbd>…<kbd>0</kbd> category</span><span><kbd>Del</kbd> delete</span>
            <span><kbd>Z</kbd> undo, back</span><span><kbd>H</kbd> hide boxes</span>
            <span><kbd>wheel</kbd> zoom</span><span><kbd>F</kbd> fit</span>
            <span><kbd>N</kbd> box at pointer</span><span><kbd>G</kbd> label alike</span>
            <span class="is-wide"><kbd>Shift</kbd> <kbd>←↑↓→</kbd> move the box</span>
            <span class="is-wide"><kbd>Alt</kbd> <kbd>←↑↓→</kbd> stretch it (<kbd>Ctrl</kbd> more)</span>
          </div>
        </section>
      </aside>
    </div>
    <div v-else class="sl-panel sl-empty sl-review__empty">
      <i class="sl-sign sl-sign--ok" style="width:44px; height:44px; color: var(--sl-ok)"></i>
      <h3>{{ decisions ? "All done" : "Nothing to review" }}</h3>
      <p>{{ decisions ? decisions + (decisions === 1 ? " picture" : " pictures") + " reviewed." : "" }} Cells send the pictures they are unsure of, rejects, and a random sample of good parts. They appear here by themselves.</p>
      <button v-if="trail.length" class="sl-button" @click="undo">Back to the last one <kbd>Z</kbd></button>
    </div>`,
};
