// Bars of the review board: whose turn it is, and pictures that look like the last one.

export const TASK_WORDS = { second: "second look", arbitrate: "two reviewers disagree" };

const decisionText = (opinion) =>
  opinion.decision === "rejected" ? "rejects it" : opinion.boxes.length === 1 ? "1 box" : `${opinion.boxes.length || "no"} boxes`;

/** Above the picture: a second look, or the opinions of two who disagree. */
export const OpinionBar = {
  name: "OpinionBar",
  props: { item: Object, chosen: Number },
  emits: ["choose"],
  methods: { decisionText },
  template: `
    <div class="sl-opinions" role="status">
      <template v-if="item.task === 'second'"><b>Second look</b><span class="sl-muted">Somebody has labelled this picture. Say what you see; it counts when you agree.</span></template>
      <template v-else><b>Two reviewers disagree</b>
        <button v-for="(opinion, i) in item.opinions" :key="i" class="sl-button sl-button--small" :class="{ 'is-chosen': i === chosen }" :aria-pressed="i === chosen" @click="$emit('choose', i)" tabindex="-1">{{ opinion.reviewer }}: {{ decisionText(opinion) }} <kbd>{{ i ? "W" : "Q" }}</kbd></button>
        <span class="sl-muted sl-small">dotted: the other one</span>
      </template>
    </div>`,
};

/** Under the picture: others that look like the one just labelled, with its boxes over them. */
export const AlikeBar = {
  name: "AlikeBar",
  props: { offered: Object, colour: Function },
  emits: ["take", "leave"],
  data: () => ({ left: [] }),
  computed: { chosen() { return this.offered.pictures.map((picture) => picture.sha256).filter((sha256) => !this.left.includes(sha256)); } },
  methods: {
    take() { this.$emit("take", this.chosen); },
    toggle(sha256) { this.left = this.left.includes(sha256) ? this.left.filter((other) => other !== sha256) : [...this.left, sha256]; },
  },
  template: `
    <div class="sl-alike" role="status" data-testid="alike">
      <div class="sl-alike__text"><b>{{ offered.pictures.length }} {{ offered.pictures.length === 1 ? "picture looks" : "pictures look" }} like {{ offered.part_id }}</b>
        <span class="sl-muted sl-small">{{ offered.decision === "rejected" ? "Reject them too?" : "Are these boxes right on them too? Click one to leave it out." }}</span></div>
      <div class="sl-alike__list">
        <button v-for="picture in offered.pictures" :key="picture.sha256" class="sl-alike__item" :class="{ 'is-left': left.includes(picture.sha256) }" :aria-pressed="!left.includes(picture.sha256)" :title="picture.part_id" @click="toggle(picture.sha256)" tabindex="-1">
          <img :src="picture.thumbnail" :alt="picture.part_id" draggable="false">
          <svg v-if="offered.decision === 'labelled'" :viewBox="'0 0 ' + picture.width + ' ' + picture.height" preserveAspectRatio="none">
            <rect v-for="(box, i) in offered.boxes" :key="i" :x="box.x" :y="box.y" :width="box.w" :height="box.h" :style="{ '--c': colour(box.category) }" />
          </svg>
        </button>
      </div>
      <button class="sl-button sl-button--small" @click="$emit('leave')" tabindex="-1">No <kbd>Esc</kbd></button>
      <button class="sl-button sl-button--small sl-button--primary" @click="take" :disabled="!chosen.length" tabindex="-1">{{ offered.decision === "rejected" ? "Reject" : "Label" }} {{ chosen.length }} <kbd>G</kbd></button>
    </div>`,
};
