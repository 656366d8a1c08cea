// Inspections, newest first; the next page loads when the end comes into sight.
import { VERDICT_WORDS, clockText } from "sightline-ui";

export default {
  props: { rows: Array, has_more: Boolean, loading: Boolean, newer: Number, searched: String },
  mounted() {
    this.observer = new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting) && this.has_more && !this.loading && !this.searched) this.$emit("more");
    }, { rootMargin: "400px" });
    this.observer.observe(this.$refs.end);
  },
  unmounted() { this.observer.disconnect(); },
  methods: {
    clockText,
    words: (verdict) => VERDICT_WORDS[verdict],
    day: (ms) => new Date(ms).toLocaleDateString([], { day: "2-digit", month: "short" }),
    isToday: (ms) => new Date(ms).toDateString() === new Date().toDateString(),
    open(row, event) {
      if (event.target.closest("a")) return;
      if (event.ctrlKey || event.metaKey) window.open(row.href, "_blank"); else window.location.href = row.href;
    },
  },
  template: `
    <div class="sl-table-box">
      <button v-if="newer" class="sl-button sl-button--small sl-newer" @click="$emit('refresh')">{{ newer }}{{ newer >= 60 ? "+" : "" }} newer {{ newer === 1 ? "part" : "parts" }}: show</button>
      <table class="sl-table">
        <thead><tr><th style="width:118px">Time</th><th style="width:84px">Picture</th><th>Part</th><th>Cell</th><th>Verdict</th><th>Reasons</th><th>Model</th><th>Recipe</th><th class="sl-right">Verdict in</th></tr></thead>
        <tbody>
          <tr v-for="row in rows" :key="row.key" @click="open(row, $event)">
            <td class="sl-num">{{ isToday(row.created_ms) ? "" : day(row.created_ms) + " " }}{{ clockText(row.created_ms) }}</td>
            <td><img v-if="row.thumbnail" class="sl-table__thumb" :src="row.thumbnail" :alt="'Picture of ' + row.part_id" loading="lazy"><span v-else class="sl-table__nothumb" title="Not sent: only doubtful, rejected and audited parts send theirs">–</span></td>
            <td><a :href="row.href">{{ row.part_id }}</a><span v-if="row.view !== 'main'" class="sl-faint"> {{ row.view }}</span></td>
            <td class="sl-nowrap">{{ row.cell }}</td>
            <td><span class="sl-verdict-text" :class="'sl-verdict-text--' + row.verdict"><i class="sl-sign" :class="'sl-sign--' + row.verdict"></i>{{ words(row.verdict) }}</span></td>
            <td><span>{{ row.reasons }}</span><div v-if="row.hard" class="sl-faint sl-small">{{ row.hard }}</div></td>
            <td class="sl-nowrap">{{ row.model || "–" }}</td>
            <td class="sl-nowrap">{{ row.recipe }}</td>
            <td class="sl-right sl-num">{{ row.latency_ms.toFixed(1) }} ms</td>
          </tr>
          <template v-if="loading"><tr v-for="i in rows.length ? 2 : 10" :key="'s' + i"><td v-for="c in 9" :key="c"><div class="sl-skeleton" style="height:14px; margin:9px 0"></div></td></tr></template>
        </tbody>
      </table>
      <div ref="end"></div>
      <div v-if="searched && !loading" class="sl-table__end"><span>{{ searched }} </span><button class="sl-link" @click="$emit('more')">Look further back</button></div>
      <div v-if="!rows.length && !loading && !has_more" class="sl-empty"><h3>No part matches</h3><p>Widen the time, or take a filter away.</p></div>
      <div v-if="rows.length && !has_more && !loading" class="sl-table__end">That is all: {{ rows.length }} {{ rows.length === 1 ? "part" : "parts" }}</div>
    </div>`,
};
