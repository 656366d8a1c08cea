// Pictures side by side with boxes over them: a sample of a snapshot, or two models on the same pictures.
// Each picture has one pane or more; a box says by its line and its word what it is, not by colour alone.

const TONES = {
  label: { dash: null, width: 1.5 },
  hit: { dash: null, width: 1.5 },
  miss: { dash: "5 4", width: 2.5 },
  extra: { dash: "1.5 3.5", width: 2.5 },
};

export default {
  props: { pictures: Array, has_more: Boolean, total: Number, loading: Boolean },
  emits: ["more", "open"],
  data: () => ({ shown: null }),
  mounted() { this.onKey = (event) => this.key(event); window.addEventListener("keydown", this.onKey); },
  unmounted() { window.removeEventListener("keydown", this.onKey); },
  computed: { open() { return this.shown == null ? null : this.pictures[this.shown]; } },
  watch: { pictures() { if (this.shown != null && this.shown >= this.pictures.length) this.shown = null; } },
  methods: {
    line: (box) => TONES[box.tone] || TONES.label,
    key(event) {
      if (this.shown == null) return;
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") this.shown = null;
      else if (step) { this.shown = Math.min(this.pictures.length - 1, Math.max(0, this.shown + step)); event.preventDefault(); }
    },
    place(box, picture) {
      const top = box.y / picture.height, left = box.x / picture.width;
      return { left: `${100 * Math.min(left, 0.72)}%`, top: top > 0.14 ? `calc(${100 * top}% - 17px)` : `${100 * (box.y + box.h) / picture.height}%` };
    },
  },
  template: `
    <div>
      <div class="sl-sheet" :class="{ 'sl-sheet--pairs': pictures.length && pictures[0].panes.length > 1 }">
        <figure v-for="(picture, n) in pictures" :key="picture.key" class="sl-sheet__item">
          <button class="sl-sheet__panes" @click="shown = n" :aria-label="'Enlarge ' + picture.title">
            <span v-for="(pane, p) in picture.panes" :key="p" class="sl-sheet__pane" :style="{ aspectRatio: picture.width + ' / ' + picture.height }">
              <img :src="picture.thumbnail" :alt="p ? '' : picture.title" loading="lazy" draggable="false">
              <svg :viewBox="'0 0 ' + picture.width + ' ' + picture.height" preserveAspectRatio="none" aria-hidden="true">
                <rect v-for="(box, i) in pane.boxes" :key="i" :class="'is-' + box.tone" :x="box.x" :y="box.y" :width="box.w" :height="box.h" :stroke-width="line(box).width" :stroke-dasharray="line(box).dash" :style="box.colour ? { '--c': box.colour } : null" />
              </svg>
              <span v-for="(box, i) in pane.boxes.filter((one) => one.words)" :key="'w' + i" class="sl-sheet__word" :class="'is-' + box.tone" :style="place(box, picture)">{{ box.words }}</span>
              <span v-if="pane.name" class="sl-sheet__name">{{ pane.name }}</span>
            </span>
          </button>
          <figcaption><b class="sl-ellipsis">{{ picture.title }}</b><span class="sl-muted sl-ellipsis">{{ picture.note }}</span></figcaption>
        </figure>
      </div>
      <p v-if="!pictures.length && !loading" class="sl-muted" style="padding: 8px 0">No picture is like that.</p>
      <div v-if="has_more" class="sl-row" style="justify-content: center; padding-top: 12px"><button class="sl-button" @click="$emit('more')">More of {{ total }}</button></div>
      <div v-if="open" class="sl-lightbox" role="dialog" aria-modal="true" :aria-label="open.title" @click.self="shown = null">
        <div class="sl-lightbox__head"><b>{{ open.title }}</b><span class="sl-muted">{{ open.note }}</span>
          <a v-if="open.href" class="sl-button sl-button--small" :href="open.href">{{ open.href_words }}</a>
          <button class="sl-button sl-button--small sl-push" @click="shown = null">Close <kbd>Esc</kbd></button></div>
        <div class="sl-lightbox__panes">
          <figure v-for="(pane, p) in open.panes" :key="p">
            <figcaption v-if="pane.title">{{ pane.title }}</figcaption>
            <span class="sl-sheet__pane" :style="{ aspectRatio: open.width + ' / ' + open.height }">
              <img :src="open.url" :alt="open.title" draggable="false">
              <svg :viewBox="'0 0 ' + open.width + ' ' + open.height" preserveAspectRatio="none"><rect v-for="(box, i) in pane.boxes" :key="i" :class="'is-' + box.tone" :x="box.x" :y="box.y" :width="box.w" :height="box.h" :stroke-width="line(box).width" :stroke-dasharray="line(box).dash" :style="box.colour ? { '--c': box.colour } : null"><title>{{ box.title }}</title></rect></svg>
              <span v-for="(box, i) in pane.boxes.filter((one) => one.words || one.tone === 'label')" :key="'w' + i" class="sl-sheet__word" :class="'is-' + box.tone" :style="[place(box, open), box.colour ? { '--c': box.colour } : null]">{{ box.words || box.title }}</span>
            </span>
          </figure>
        </div>
      </div>
    </div>`,
};
