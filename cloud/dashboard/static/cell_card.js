// One cell on the Line page: what it said about the last part, and what an operator can do about it.
import { SlPicture, VERDICT_WORDS, agoText, ageText, contradict, syncClock, useClock } from "sightline-ui";

export default {
  components: { SlPicture },
  props: { cell: Object, server_ms: Number, may_report: Boolean },
  emits: ["said", "open"],
  setup: () => useClock(),
  data: () => ({ noted: [] }),
  created() { syncClock(this.server_ms); },
  watch: { server_ms(value) { syncClock(value); } },
  computed: {
    state() { return this.cell.connection === "stale" || this.cell.connection === "offline" ? this.cell.connection : ""; },
    word() { return this.cell.last ? VERDICT_WORDS[this.cell.last.verdict] : "No part yet"; },
    isFaulty() { return ["error", "halted"].includes(this.cell.station); },
    chip() {
      const tone = this.isFaulty ? "sl-chip--bad" : ["preoperational", "initialized"].includes(this.cell.station) ? "sl-chip--unsure" : "sl-chip--ok";
      return { online: tone, stale: "sl-chip--stale", offline: "sl-chip--bad" }[this.cell.connection] || "";
    },
    chipText() {
      const cell = this.cell;
      if (cell.connection === "stale") return `Stale · ${ageText(this.since(cell.status_ms))} without a heartbeat`;
      if (cell.connection === "offline") return cell.status_ms ? `Offline for ${ageText(this.since(cell.status_ms))}` : "Offline";
      if (cell.connection === "stopped") return "Stopped";
      return cell.station_words;
    },
    /** Not every part sends its picture: the newest one may be older than the verdict beside it. */
    isEarlierPart() { const { picture, last } = this.cell; return Boolean(picture && last) && picture.part_id !== last.part_id; },
  },
  methods: {
    agoText, ageText,
    words: (verdict) => VERDICT_WORDS[verdict] || "",
    percent: (ratio) => (ratio == null ? "–" : `${(100 * ratio).toFixed(1)} %`),
    ms: (value) => (value == null ? "–" : `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`),
    count: (value) => value.toLocaleString("en-US").replaceAll(",", "\u202f"),
    isNoted(target) { return Boolean(target) && this.noted.includes(target.result_id); },
    async report(kind, target) {
      if (!target || this.isNoted(target)) return;
      this.noted = [...this.noted.slice(-19), target.result_id];
      const answer = await contradict(target.result_id, kind);
      if (!answer.ok) this.noted = this.noted.filter((id) => id !== target.result_id);
      this.$emit("said", answer);
    },
  },
  template: `
    <article class="sl-panel sl-cell" :class="state && 'sl-cell--' + state" :data-cell="cell.cell">
      <header class="sl-cell__head">
        <h2>{{ cell.title }}</h2>
        <span class="sl-cell__path sl-ellipsis sl-grow" :title="cell.cell">{{ cell.place }}</span>
        <span class="sl-chip" :class="chip"><i v-if="cell.connection === 'offline'" class="sl-sign sl-sign--offline"></i><i v-else-if="cell.connection === 'stale'" class="sl-sign sl-sign--none"></i><i v-else-if="isFaulty" class="sl-sign sl-sign--alarm"></i>{{ chipText }}</span>
      </header>

      <div v-for="alarm in cell.alarms" :key="alarm.code" class="sl-alarm" :class="alarm.level && 'sl-alarm--' + alarm.level" role="alert">
        <i class="sl-sign sl-sign--alarm"></i>
        <p><b>{{ alarm.cause }}</b> {{ alarm.action }}</p>
      </div>

      <div class="sl-cell__main">
        <div class="sl-cell__side">
        <section class="sl-verdict" :class="'sl-verdict--' + (cell.last ? cell.last.verdict : 'none')" aria-live="polite" aria-atomic="true">
          <i class="sl-sign sl-verdict__sign" :class="'sl-sign--' + (cell.last ? cell.last.verdict : 'none')"></i>
          <span v-if="state && cell.last" class="sl-verdict__was">Last known</span>
          <span class="sl-verdict__word">{{ word }}</span>
          <template v-if="cell.last">
            <a class="sl-verdict__part" :href="cell.last.href">{{ cell.last.part_id }}</a>
            <ul class="sl-verdict__reasons" :title="cell.last.details"><li v-for="(reason, i) in cell.last.reasons" :key="i">{{ reason }}</li></ul>
            <span class="sl-verdict__foot"><span>{{ agoText(since(cell.last.created_ms)) }}</span><span>{{ ms(cell.last.latency_ms) }}</span></span>
          </template>
          <span v-else class="sl-verdict__reasons">Parts show here as soon as the PLC triggers the cell.</span>
        </section>
        <div class="sl-cell__actions" v-if="may_report">
          <button class="sl-button sl-tap" :disabled="!cell.last_reject || isNoted(cell.last_reject)" :title="cell.last_reject && cell.last_reject.part_id + ' was rejected, but it is good'" @click="report('false_reject', cell.last_reject)">
            False reject<small>{{ !cell.last_reject ? "no reject yet" : isNoted(cell.last_reject) ? cell.last_reject.part_id + " noted" : cell.last_reject.part_id }}</small>
          </button>
          <button class="sl-button sl-tap" :disabled="!cell.last_ok || isNoted(cell.last_ok)" :title="cell.last_ok && cell.last_ok.part_id + ' was passed, but it is bad'" @click="report('missed_defect', cell.last_ok)">
            Missed defect<small>{{ !cell.last_ok ? "no OK part yet" : isNoted(cell.last_ok) ? cell.last_ok.part_id + " noted" : cell.last_ok.part_id }}</small>
          </button>
        </div>
        </div>
        <div class="sl-cell__shot">
          <sl-picture v-if="cell.picture" v-bind="cell.picture" :alt="'Picture of ' + cell.picture.part_id" />
          <sl-picture v-else none="No picture yet" hint="Only doubtful, rejected and audited parts send theirs." />
          <div class="sl-cell__caption" v-if="cell.picture">
            <span v-if="isEarlierPart" class="sl-chip" title="No picture of the last part has come">Earlier part</span>
            <span class="sl-verdict-text" :class="'sl-verdict-text--' + cell.picture.verdict"><i class="sl-sign" :class="'sl-sign--' + (cell.picture.verdict || 'none')"></i></span>
            <a :href="cell.picture.href">{{ cell.picture.part_id }}</a>
            <span>{{ agoText(since(cell.picture.created_ms)) }}</span>
            <span v-if="cell.picture.why" class="sl-ellipsis sl-faint">{{ cell.picture.why }}</span>
          </div>
        </div>
      </div>

      <div class="sl-counts" role="group" aria-label="This shift">
        <div class="sl-count"><b class="sl-verdict-text--ok"><i class="sl-sign sl-sign--ok"></i>{{ count(cell.counts.ok) }}</b><span>OK this shift</span></div>
        <div class="sl-count"><b class="sl-verdict-text--not_ok"><i class="sl-sign sl-sign--not_ok"></i>{{ count(cell.counts.not_ok) }}</b><span>NOT_OK</span></div>
        <div class="sl-count"><b class="sl-verdict-text--not_decidable"><i class="sl-sign sl-sign--not_decidable"></i>{{ count(cell.counts.not_decidable) }}</b><span>undecidable</span></div>
        <div class="sl-count"><b>{{ percent(cell.counts.yield_ratio) }}</b><span>first-pass yield</span></div>
      </div>

      <div class="sl-strip">
        <div class="sl-strip__title"><span>Last rejects with their pictures</span><a :href="cell.rejects_href">All rejects</a></div>
        <div v-if="cell.rejects.length" class="sl-strip__list">
          <button v-for="reject in cell.rejects" :key="reject.result_id" class="sl-shot" :title="reject.reasons.join('; ')" @click="$emit('open', reject.result_id)">
            <sl-picture :url="reject.url" :width="reject.width" :height="reject.height" :boxes="reject.boxes" :labels="false" none="Not sent" :alt="reject.part_id" />
            <span class="sl-shot__text"><i class="sl-sign" style="font-size:12px; vertical-align:-2px; margin-right:4px" :class="['sl-sign--' + reject.verdict, 'sl-verdict-text--' + reject.verdict]"></i>{{ reject.short }}</span>
            <span class="sl-shot__text sl-shot__text--faint">{{ agoText(since(reject.created_ms)) }}</span>
          </button>
        </div>
        <div v-else class="sl-strip__none">No reject this shift.</div>
      </div>

      <footer class="sl-cell__facts">
        <span>Model <b>{{ cell.model || "–" }}</b></span>
        <span>Recipe <b>{{ cell.recipe || "–" }}</b></span>
        <span :title="'of the last ' + cell.latency.n + ' parts, trigger to verdict'">Verdict in <b>{{ ms(cell.latency.p50) }}</b> p50, <b>{{ ms(cell.latency.p99) }}</b> p99</span>
        <span v-if="cell.update">{{ cell.update }}</span>
      </footer>
    </article>`,
};
